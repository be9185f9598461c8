//! Arguments and environment turned into each layer's settings, once.

use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{Args, ValueEnum};
use secrecy::SecretString;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::Refused;
use super::config::{self, Loaded, World};
use super::console::Console;
use crate::model::{Dialect, Host, Pattern, Platform, Repository, Tag, Words};
use crate::registry::credentials::{Environment, Keychain};
use crate::registry::{Access, Settings, Trust};
use crate::serve::settings::{self as serve, Rule};

/// What every command needs that works on one repository.
#[derive(Args, Debug)]
pub(super) struct RegistryArgs {
    /// Repository that holds the images, for example `registry.example.com/acme/ubuntu`
    #[arg(short, long, env = "ONETAG_REPOSITORY", value_name = "REPOSITORY")]
    pub(super) repository: Repository,

    #[command(flatten)]
    access: AccessArgs,
}

/// What every command needs that talks to a registry.
#[derive(Args, Debug)]
pub(super) struct AccessArgs {
    /// Take what is not said here from this file, as `onetag serve` has it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// How tags are made of an architecture word and a version [default: {arch}-{version}]
    #[arg(long, value_name = "PATTERN", help_heading = "Tags")]
    pattern: Option<Pattern>,

    /// Whose words the tags use, where builders disagree (`armhf` is v7 to Debian, v6 to Alpine) [default: debian]
    #[arg(long, help_heading = "Tags",
          value_parser = PossibleValuesParser::new(["debian", "alpine", "docker"]).try_map(|s| s.parse::<Dialect>()))]
    names: Option<Dialect>,

    /// Give an architecture word a meaning of its own here, for example `x86=linux/386` (repeatable)
    #[arg(long = "word", value_name = "WORD=PLATFORM", help_heading = "Tags", value_parser = word)]
    words: Vec<(String, Platform)>,

    /// Reach the registry without TLS (the machine itself needs no such telling)
    #[arg(long, help_heading = "Connection")]
    plain_http: bool,

    /// Trust these certificates, too
    #[arg(long, value_name = "PEM", help_heading = "Connection")]
    ca_file: Option<PathBuf>,

    /// Show this certificate to the registry
    #[arg(long, value_name = "PEM", requires = "client_key", help_heading = "Connection")]
    client_cert: Option<PathBuf>,

    /// The key of `--client-cert`
    #[arg(long, value_name = "PEM", requires = "client_cert", help_heading = "Connection")]
    client_key: Option<PathBuf>,

    /// Give up on a request after this long, tries included [default: 60s]
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "Connection")]
    timeout: Option<Duration>,

    /// A token server outside the registry's own domain that may see the login (repeatable)
    #[arg(long = "token-realm-host", value_name = "HOST", help_heading = "Login")]
    token_realm_hosts: Vec<String>,

    /// Log in as this user, not as found where docker and podman keep logins
    #[arg(long, env = "ONETAG_USERNAME", value_name = "NAME", help_heading = "Login")]
    username: Option<String>,

    /// Read the password from standard input (or set ONETAG_PASSWORD)
    #[arg(long, requires = "username", help_heading = "Login")]
    password_stdin: bool,
}

/// How a command speaks.
#[derive(Args, Debug)]
pub(super) struct OutputArgs {
    /// Text for people, or JSON for programs
    #[arg(long, value_enum, default_value_t, help_heading = "Output")]
    pub(super) output: Output,

    #[command(flatten)]
    pub(super) messages: MessageArgs,
}

/// What a command says beside its data.
#[derive(Args, Debug)]
pub(super) struct MessageArgs {
    /// Say more on stderr; twice for every request
    #[arg(short, long, action = clap::ArgAction::Count, help_heading = "Output")]
    verbose: u8,

    /// Say nothing on stderr but errors
    #[arg(short, long, conflicts_with = "verbose", help_heading = "Output")]
    quiet: bool,

    /// When to use colours; `NO_COLOR` is respected
    #[arg(long, value_enum, default_value_t, help_heading = "Output")]
    color: Color,

    /// The form of what is said on stderr
    #[arg(long, value_enum, default_value_t, help_heading = "Output")]
    log_format: Output,
}

/// Text or JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Color {
    /// On a terminal
    #[default]
    Auto,
    /// Everywhere
    Always,
    /// Nowhere
    Never,
}

/// Reads `90s`, `10m` or `1h 30m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "expected a duration such as `90s`, `10m` or `1h`".to_owned())
}

fn word(text: &str) -> Result<(String, Platform), String> {
    let (word, platform) = text.split_once('=').ok_or("expected WORD=PLATFORM, for example `x86=linux/386`")?;
    Ok((word.to_owned(), platform.parse().map_err(|error| format!("{error}"))?))
}

impl MessageArgs {
    /// Starts logging, and returns where the rest goes.
    pub(super) fn start(&self) -> Console {
        self.start_at(["warn", "onetag=info", "onetag=debug"])
    }

    /// The same for a service, whose log is what it has to say.
    pub(super) fn start_service(&self) -> Console {
        self.start_at(["warn,onetag=info", "onetag=debug", "onetag=trace"])
    }

    fn start_at(&self, levels: [&str; 3]) -> Console {
        let level = if self.quiet { "error" } else { levels[usize::from(self.verbose).min(2)] };
        let filter: Targets = level.parse().expect("levels are well formed");
        let color = match self.color {
            Color::Auto => ColorChoice::Auto,
            Color::Always => ColorChoice::Always,
            Color::Never => ColorChoice::Never,
        };
        let is_colored = match color {
            ColorChoice::Auto => AutoStream::choice(&std::io::stderr()) != ColorChoice::Never,
            choice => choice == ColorChoice::Always,
        };
        let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
        let registry = tracing_subscriber::registry().with(filter);
        let _ = match self.log_format {
            Output::Json => registry.with(log.json()).try_init(),
            Output::Text => registry.with(log.with_ansi(is_colored).compact().without_time()).try_init(),
        };
        Console::new(color, self.quiet, self.verbose > 0 || self.log_format == Output::Json)
    }
}

impl RegistryArgs {
    /// What counts where no option does: the defaults, or what `--config` says about these tags.
    pub(super) fn base(&self, access: Access, tags: &[Tag]) -> Result<Base, Refused> {
        self.access.base(&self.repository, access, |settings, warnings| {
            Base::of(settings, warnings, &self.repository, tags, access)
        })
    }

    /// How the repository's tags are made.
    pub(super) fn pattern(&self, base: &Base) -> Pattern {
        self.access.pattern(base)
    }

    /// The vocabulary of the repository's tags.
    pub(super) fn words(&self, base: &Base) -> Result<Words, Refused> {
        self.access.words(base)
    }

    /// How to talk to the registry.
    pub(super) fn settings(&self, base: &Base) -> Result<Settings, Refused> {
        self.access.settings(base)
    }
}

impl AccessArgs {
    /// What counts for one image where no option does: the defaults, or what `--config` says.
    pub(super) fn base_of_image(&self, repository: &Repository, tag: Option<&Tag>) -> Result<Base, Refused> {
        self.base(repository, Access::Read, |settings, warnings| {
            let serves = |rule: &&Rule| {
                rule.covers(repository) && tag.is_some_and(|tag| rule.serves(tag) || rule.source(tag).is_some())
            };
            let rule = settings.rules.iter().find(serves).cloned();
            Ok(Base { client: client(settings, repository, Access::Read), rule, warnings })
        })
    }

    fn base(
        &self,
        repository: &Repository,
        access: Access,
        of: impl FnOnce(&serve::Settings, Vec<String>) -> Result<Base, Refused>,
    ) -> Result<Base, Refused> {
        let Some(path) = &self.config else {
            let client = usual(repository.host(), access, Environment::from_process());
            return Ok(Base { client, rule: None, warnings: Vec::new() });
        };
        let reader = config::Reader::Command(repository.host());
        let Loaded { settings, warnings } =
            config::load(path, reader, &World::of_process()).map_err(Refused::configuration)?;
        of(&settings, warnings)
    }

    /// How the repository's tags are made.
    pub(super) fn pattern(&self, base: &Base) -> Pattern {
        let configured = base.rule.as_ref().map(|rule| &rule.pattern);
        self.pattern.as_ref().or(configured).cloned().unwrap_or_default()
    }

    /// The vocabulary of the repository's tags.
    pub(super) fn words(&self, base: &Base) -> Result<Words, Refused> {
        let words = match (self.names, &base.rule) {
            (None, Some(rule)) => rule.words.clone(),
            (names, _) => Words::of(names.unwrap_or_default()),
        };
        self.words
            .iter()
            .try_fold(words, |words, (word, platform)| words.with(word, platform.clone()).map_err(Refused::usage))
    }

    /// How to talk to the registry.
    pub(super) fn settings(&self, base: &Base) -> Result<Settings, Refused> {
        let base = base.client.clone();
        let own_ca = self.ca_file.as_deref().map(read_file).transpose()?;
        let own_identity = match (&self.client_cert, &self.client_key) {
            (Some(certificate), Some(key)) => Some(pem_pair(read_file(certificate)?, read_file(key)?)),
            _ => None,
        };
        // Certificates say that TLS is meant.
        let is_plain = base.plain_http && own_ca.is_none() && own_identity.is_none();
        let trust =
            Trust { ca_pem: own_ca.or(base.trust.ca_pem), identity_pem: own_identity.or(base.trust.identity_pem) };
        let hosts = &self.token_realm_hosts;
        Ok(Settings {
            plain_http: self.plain_http || is_plain,
            trust,
            token_realm_hosts: if hosts.is_empty() { base.token_realm_hosts } else { hosts.clone() },
            keychain: self.keychain()?.unwrap_or(base.keychain),
            deadline: self.timeout.unwrap_or(base.deadline),
            ..base
        })
    }

    /// The login that the arguments name.
    fn keychain(&self) -> Result<Option<Keychain>, Refused> {
        let Some(username) = &self.username else {
            return Ok(None);
        };
        let password = if self.password_stdin {
            let mut line = String::new();
            std::io::stdin()
                .lock()
                .read_line(&mut line)
                .map_err(|e| Refused::configuration(format!("the password cannot be read from standard input: {e}")))?;
            line.trim_end_matches(['\r', '\n']).to_owned()
        } else {
            std::env::var("ONETAG_PASSWORD").unwrap_or_default()
        };
        if username.is_empty() || password.is_empty() {
            let message = format!("there is no password for `{username}`: set ONETAG_PASSWORD or use --password-stdin");
            return Err(Refused::configuration(message));
        }
        let keychain = Keychain::given(username.clone(), SecretString::from(password));
        keychain
            .map(Some)
            .map_err(|error| Refused { hint: error.hint().map(str::to_owned), ..Refused::configuration(error) })
    }
}

/// What counts where no option does.
pub(super) struct Base {
    client: Settings,
    /// The rule that the tags have in common, if the file has one for them.
    pub(super) rule: Option<Rule>,
    warnings: Vec<String>,
}

impl Base {
    /// What a configuration says about `tags`, which must be of one rule, or of none.
    fn of(
        settings: &serve::Settings,
        mut warnings: Vec<String>,
        repository: &Repository,
        tags: &[Tag],
        access: Access,
    ) -> Result<Base, Refused> {
        let rules: Vec<Option<&Rule>> = match tags {
            [] => settings.rules_for(repository).map(Some).collect(),
            tags => tags.iter().map(|tag| settings.rule_for(repository, tag)).collect(),
        };
        let rule = rules.first().copied().flatten();
        if let Some(other) = rules.iter().position(|other| *other != rule) {
            let message = match (tags.first(), tags.get(other)) {
                (Some(first), Some(other)) => {
                    format!("`{first}` and `{other}` have different rules in the configuration")
                }
                _ => format!("the tags of {repository} have different rules in the configuration"),
            };
            return Err(Refused { hint: Some("name them one by one".to_owned()), ..Refused::usage(message) });
        }
        if let (None, [first, ..]) = (rule, tags) {
            warnings.push(format!("no [[repository]] of the configuration serves `{repository}:{first}`"));
        }
        Ok(Base { client: client(settings, repository, access), rule: rule.cloned(), warnings })
    }

    /// Tells what is worth a look in the configuration.
    pub(super) fn warn(&self) {
        for warning in &self.warnings {
            tracing::warn!("{warning}");
        }
    }
}

/// A repository's registry as a configuration has it, if it does.
fn client(settings: &serve::Settings, repository: &Repository, access: Access) -> Settings {
    match settings.registry(repository.host()) {
        Some(registry) => Settings { access, rate: registry.rate, ..registry.client.clone() },
        None => usual(repository.host(), access, Environment::from_process()),
    }
}

/// A registry as docker talks to it: TLS, but for the machine itself, and the logins found there.
pub(super) fn usual(host: &Host, access: Access, logins: Environment) -> Settings {
    let keychain = Keychain::of_environment(logins);
    Settings { plain_http: host.is_loopback(), keychain, ..Settings::new(access) }
}

/// A client certificate and its key, as the HTTP client reads them.
pub(super) fn pem_pair(certificate: Vec<u8>, key: Vec<u8>) -> Vec<u8> {
    [certificate, key].join(&b'\n')
}

fn read_file(path: &Path) -> Result<Vec<u8>, Refused> {
    std::fs::read(path).map_err(|error| Refused::configuration(format!("{} cannot be read: {error}", path.display())))
}
