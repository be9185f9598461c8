//! How a server is reached: passwords, TLS, and what is never shown of them.
