//! `onetag serve`: the service, from its configuration to its end.

use std::path::{Path, PathBuf};

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::config::{self, Loaded, Reader, World};
use super::console::Console;
use super::settings::MessageArgs;
use super::{Exit, Refused, manager};
use crate::model::text::with_causes;
use crate::serve::settings::Settings;
use crate::serve::{Reloader, ServeError, Service};

/// Listen for pushed architecture tags and keep every plain tag right
///
/// Runs until SIGTERM. SIGHUP reads the configuration again; one that cannot be used changes
/// nothing.
#[derive(Args, Debug)]
pub(super) struct ServeArgs {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = "onetag.toml")]
    config: PathBuf,

    /// Check the configuration and exit
    #[arg(long)]
    check: bool,

    #[command(flatten)]
    messages: MessageArgs,
}

/// Serves until told to stop.
pub(super) fn run(args: ServeArgs) -> Result<Exit, Refused> {
    let console = args.messages.start_service();
    let settings = load(&args, &console)?;
    if args.check {
        console.report(&format!("{} can be used\n", args.config.display()));
        return Ok(Exit::Done);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Refused::configuration)?;
    let result = runtime.block_on(serve(&args, settings));
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    result
}

fn load(args: &ServeArgs, console: &Console) -> Result<Settings, Refused> {
    let Loaded { settings, warnings } =
        config::load(&args.config, Reader::Service, &World::of_process()).map_err(Refused::configuration)?;
    for warning in warnings {
        console.warning(&warning);
    }
    Ok(settings)
}

async fn serve(args: &ServeArgs, settings: Settings) -> Result<Exit, Refused> {
    // Before anything is answered: a signal without a handler would end the process at once.
    let handler = |kind| signal(kind).map_err(Refused::configuration);
    let hangup = handler(SignalKind::hangup())?;
    let (interrupt, terminate) = (handler(SignalKind::interrupt())?, handler(SignalKind::terminate())?);
    let stop = CancellationToken::new();
    tokio::spawn(stop_when_told(interrupt, terminate, stop.clone()));
    let service = Service::start(settings.clone()).await.map_err(refused)?;
    if let (Ok(listen), Ok(admin)) = (service.listen(), service.admin()) {
        tracing::info!(%listen, %admin, "Listening for deliveries on {listen}, for operators on {admin}");
    }
    let reloading = tokio::spawn(reload_when_told(hangup, args.config.clone(), settings, service.reloader()));
    let alive = tokio::spawn(manager::stay_alive());
    let result = service.run(stop, manager::ready).await;
    reloading.abort();
    alive.abort();
    result.map(|()| Exit::Done).map_err(refused)
}

fn refused(error: ServeError) -> Refused {
    let hint = match &error {
        ServeError::Store(error) => error.hint().map(str::to_owned),
        ServeError::Registry(error) => error.hint().map(str::to_owned),
        ServeError::Listen { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse => {
            Some("stop the other program there, or choose another `listen` or `admin`".to_owned())
        }
        ServeError::Listen { .. } | ServeError::Listener(_) | ServeError::Ended(_) => None,
    };
    let exit = if matches!(error, ServeError::Ended(_)) { Exit::Bug } else { Exit::Configuration };
    Refused { exit, message: with_causes(&error), hint }
}

/// Reads the configuration again at every SIGHUP.
async fn reload_when_told(mut hangup: Signal, path: PathBuf, mut settings: Settings, reloader: Reloader) {
    while hangup.recv().await.is_some() {
        manager::reloading();
        match reload(&path, &settings, &reloader) {
            Ok(newer) => {
                tracing::info!("Read {} again", path.display());
                settings = newer;
            }
            Err(why) => {
                reloader.refused();
                tracing::error!("The configuration stays as it was: {why}");
            }
        }
        manager::ready();
    }
}

/// Lets the service go by what the file says now, or tells why not.
fn reload(path: &Path, settings: &Settings, reloader: &Reloader) -> Result<Settings, String> {
    let loaded = config::load(path, Reader::Service, &World::of_process());
    let Loaded { settings: newer, warnings } = loaded.map_err(|error| error.to_string())?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    for key in settings.changed_for_good(&newer) {
        tracing::warn!("`{key}` changes with the next start only");
    }
    reloader.replace(newer.clone()).map_err(|error| error.to_string())?;
    Ok(newer)
}

async fn stop_when_told(mut interrupt: Signal, mut terminate: Signal, stop: CancellationToken) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    manager::stopping();
    stop.cancel();
}
