//! The terminal, file or pipe that the user reads: colours where wanted, plain letters where the
//! locale knows no others, and no fuss when nobody reads any more.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Bad news.
pub(super) const RED: Style = AnsiColor::Red.on_default().bold();
/// Good news.
pub(super) const GREEN: Style = AnsiColor::Green.on_default();
/// Worth a look.
pub(super) const YELLOW: Style = AnsiColor::Yellow.on_default();
/// Beside the point.
pub(super) const DIM: Style = Style::new().dimmed();

/// Where a command's output goes.
#[derive(Clone, Debug)]
pub(super) struct Console {
    color: ColorChoice,
    is_quiet: bool,
    ascii_only: bool,
    is_logging: bool,
    progress: Option<Progress>,
    /// What was said to be waited for last, by subject.
    waits: Arc<Mutex<BTreeMap<String, String>>>,
}

#[derive(Clone, Debug)]
struct Progress {
    bar: ProgressBar,
    lines: Arc<Mutex<Vec<(String, String)>>>,
}

impl Console {
    /// For messages before the options are known.
    pub(super) fn plain() -> Console {
        Console {
            color: ColorChoice::Auto,
            is_quiet: false,
            ascii_only: is_ascii_locale(),
            is_logging: false,
            progress: None,
            waits: Arc::default(),
        }
    }

    /// As the user wants it. Progress is shown on a terminal that is not busy with logs.
    pub(super) fn new(color: ColorChoice, is_quiet: bool, is_logging: bool) -> Console {
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let has_progress = std::io::stderr().is_terminal() && !is_quiet && !is_logging && !is_dumb;
        let color = if is_dumb && color == ColorChoice::Auto { ColorChoice::Never } else { color };
        let progress = has_progress.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{spinner} {wide_msg}").expect("the template is right");
            bar.set_style(style.tick_chars("-\\|/ "));
            bar.enable_steady_tick(Duration::from_millis(100));
            Progress { bar, lines: Arc::default() }
        });
        Console { color, is_quiet, ascii_only: is_ascii_locale(), is_logging, progress, waits: Arc::default() }
    }

    /// Says on the progress line what is being done for `subject`; nothing once it is done.
    pub(super) fn doing(&self, subject: &str, what: Option<&str>) {
        let Some(Progress { bar, lines }) = &self.progress else {
            return;
        };
        let mut lines = lines.lock().expect("no panic happens while it is held");
        lines.retain(|(known, _)| known != subject);
        lines.extend(what.map(|what| (subject.to_owned(), what.to_owned())));
        let text: Vec<String> = lines.iter().map(|(subject, what)| format!("{subject}: {what}")).collect();
        bar.set_message(text.join("; "));
    }

    /// Says what keeps `subject` waiting: on the progress line, or where there is none (a CI job's
    /// log) on a line of its own whenever it changes.
    pub(super) fn waiting(&self, subject: &str, what: &str) {
        if self.progress.is_some() {
            return self.doing(subject, Some(what));
        }
        let before = self.waits.lock().expect("no panic happens while it is held");
        if self.is_quiet || self.is_logging || before.get(subject).is_some_and(|before| before == what) {
            return;
        }
        { before }.insert(subject.to_owned(), what.to_owned());
        self.message(&format!("{subject}: {what}"));
    }

    /// Takes the progress line away.
    pub(super) fn finish(&self) {
        if let Some(progress) = &self.progress {
            progress.bar.finish_and_clear();
        }
    }

    /// Data, on stdout.
    pub(super) fn data(&self, text: &str) {
        self.write(&mut AutoStream::new(std::io::stdout().lock(), self.color), text);
    }

    /// A report for people, on stdout.
    pub(super) fn report(&self, text: &str) {
        self.data(&self.in_locale(text));
    }

    /// What went wrong, and what can be done, on stderr.
    pub(super) fn error(&self, message: &str, hint: Option<&str>) {
        self.message(&format!("{RED}error:{RED:#} {message}"));
        if let Some(hint) = hint {
            self.hint(hint);
        }
    }

    /// What can be done, on stderr.
    pub(super) fn hint(&self, hint: &str) {
        if !self.is_quiet {
            self.message(&format!("{YELLOW}hint:{YELLOW:#} {hint}"));
        }
    }

    /// What is worth a look, on stderr.
    pub(super) fn warning(&self, warning: &str) {
        if !self.is_quiet {
            self.message(&format!("{YELLOW}warning:{YELLOW:#} {warning}"));
        }
    }

    fn message(&self, text: &str) {
        let text = self.in_locale(&format!("{text}\n"));
        self.write(&mut AutoStream::new(std::io::stderr().lock(), self.color), &text);
    }

    /// Writes, and does not mind a reader who has gone (`| head -1`).
    fn write(&self, stream: &mut impl Write, text: &str) {
        let write = || stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
        match &self.progress {
            Some(progress) => {
                let _ = progress.bar.suspend(write);
            }
            None => {
                let _ = { write }();
            }
        }
    }

    fn in_locale(&self, text: &str) -> String {
        if self.ascii_only {
            text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect()
        } else {
            text.to_owned()
        }
    }
}

/// How many columns a report may take: the terminal's, or what `COLUMNS` says, or a usual number.
pub(super) fn width() -> usize {
    let terminal = terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| usize::from(width.0));
    let said = || std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    terminal.or_else(said).unwrap_or(100).max(40)
}

/// Whether the locale has no letters but ASCII's.
fn is_ascii_locale() -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(std::env::var_os).find(|value| !value.is_empty());
    let locale = set.map(|value| value.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    !(locale.contains("utf-8") || locale.contains("utf8"))
}
