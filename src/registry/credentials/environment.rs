//! Where docker and podman keep logins, as the process's variables have it.

use std::ffi::OsString;
#[cfg(target_os = "linux")]
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

/// How long a credential helper may take, unless [`Environment::helper_timeout`] says otherwise.
pub const HELPER_TIMEOUT: Duration = Duration::from_secs(30);

/// The few variables and folders that decide where logins are looked for.
///
/// Read once, by the command line; everything below takes it as a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Environment {
    /// `REGISTRY_AUTH_FILE`: when set, the only file there is, and it need not exist.
    pub registry_auth_file: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`: where podman keeps logins until the machine restarts.
    pub xdg_runtime_dir: Option<PathBuf>,
    /// `/run/containers/<uid>`: where podman keeps them if `XDG_RUNTIME_DIR` is not set.
    pub run_containers: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`, in place of `.config` in the home folder.
    pub xdg_config_home: Option<PathBuf>,
    /// `DOCKER_CONFIG`, in place of `.docker` in the home folder.
    pub docker_config: Option<PathBuf>,
    /// `HOME`, or else what the system says.
    pub home: Option<PathBuf>,
    /// `PATH`: where helpers are looked for, and what they are given.
    pub path: Option<OsString>,
    /// How long a helper may take before it is killed.
    pub helper_timeout: Duration,
}

impl Default for Environment {
    /// An environment where nothing is set, so there are no logins.
    fn default() -> Environment {
        Environment {
            registry_auth_file: None,
            xdg_runtime_dir: None,
            run_containers: None,
            xdg_config_home: None,
            docker_config: None,
            home: None,
            path: None,
            helper_timeout: HELPER_TIMEOUT,
        }
    }
}

impl Environment {
    /// Reads this process's variables. One that is set but empty counts as not set.
    pub fn from_process() -> Environment {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let folder = |name| variable(name).map(PathBuf::from);
        Environment {
            registry_auth_file: folder("REGISTRY_AUTH_FILE"),
            xdg_runtime_dir: folder("XDG_RUNTIME_DIR"),
            run_containers: run_containers(),
            xdg_config_home: folder("XDG_CONFIG_HOME"),
            docker_config: folder("DOCKER_CONFIG"),
            home: std::env::home_dir().filter(|home| !home.as_os_str().is_empty()),
            path: variable("PATH"),
            helper_timeout: HELPER_TIMEOUT,
        }
    }

    /// The files that may hold logins, first to last, each once. They need not exist.
    pub(super) fn login_files(&self) -> Vec<PathBuf> {
        if let Some(only) = &self.registry_auth_file {
            return vec![only.clone()];
        }
        let in_home = |folder| self.home.as_ref().map(|home| home.join(folder));
        let runtime = self.xdg_runtime_dir.as_ref().map(|folder| folder.join("containers"));
        let config = self.xdg_config_home.clone().or_else(|| in_home(".config"));

        let folders_and_names = [
            (runtime.or_else(|| self.run_containers.clone()), "auth.json"),
            (config.map(|folder| folder.join("containers")), "auth.json"),
            (self.docker_config.clone().or_else(|| in_home(".docker")), "config.json"),
        ];
        let mut files = Vec::new();
        for (folder, name) in folders_and_names {
            if let Some(file) = folder.map(|folder| folder.join(name))
                && !files.contains(&file)
            {
                files.push(file);
            }
        }
        files
    }
}

/// Podman's folder for this user. The owner of `/proc/self` is us, and asking takes no `unsafe`.
#[cfg(target_os = "linux")]
fn run_containers() -> Option<PathBuf> {
    use std::os::linux::fs::MetadataExt as _;

    let uid = std::fs::metadata("/proc/self").ok()?.st_uid();
    Some(Path::new("/run/containers").join(uid.to_string()))
}

#[cfg(not(target_os = "linux"))]
fn run_containers() -> Option<PathBuf> {
    None
}
