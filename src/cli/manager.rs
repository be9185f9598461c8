//! What systemd is told of the service, if it asks (`NOTIFY_SOCKET`): `Type=notify`,
//! `Type=notify-reload` and `WatchdogSec=`. Specification: sd_notify(3).

use sd_notify::NotifyState;

/// Both listeners answer, or the configuration was read again.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The configuration is read again; [`ready`] follows, whatever comes of it.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!("systemd could not be told of the time: {error}"),
    }
}

/// The service comes to its end.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Gives signs of life, twice as often as they are wanted; never if none are.
pub(super) async fn stay_alive() {
    let Some(wanted) = sd_notify::watchdog_enabled() else {
        return std::future::pending().await;
    };
    loop {
        tell(&[NotifyState::Watchdog]);
        tokio::time::sleep(wanted / 2).await;
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!("systemd could not be told: {error}");
    }
}
