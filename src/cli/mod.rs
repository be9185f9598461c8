//! Arguments in, sentences and exit codes out.
//!
//! stdout has data only; messages, progress and logs go to stderr. A command is a documented
//! struct; what it does is elsewhere.

mod audit;
mod cache;
mod config;
mod console;
mod history;
mod hook;
mod manager;
mod policy;
mod publish;
mod report;
mod serve;
mod settings;
mod verify;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use console::Console;

/// How a run ended, as scripts see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Done, or nothing to do.
    Done = 0,
    /// A bug of ours.
    Bug = 1,
    /// The arguments make no sense.
    Usage = 2,
    /// A setting, file or login cannot be used.
    Configuration = 3,
    /// The registry does not allow it: login, permission, refused token server.
    NotAllowed = 4,
    /// The registry could not be reached or kept failing.
    Failing = 5,
    /// Held: verification or policy says no.
    Held = 6,
    /// An audit found problems.
    Problems = 7,
    /// The user interrupted it (128 + SIGINT, as shells have it).
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// A run that ended before it began: which exit, and why.
#[derive(Debug)]
struct Refused {
    exit: Exit,
    message: String,
    hint: Option<String>,
}

impl Refused {
    fn usage(message: impl ToString) -> Refused {
        Refused { exit: Exit::Usage, message: message.to_string(), hint: None }
    }

    fn configuration(message: impl ToString) -> Refused {
        Refused { exit: Exit::Configuration, message: message.to_string(), hint: None }
    }
}

/// What runs a command: one thread is enough, since everything waits for the network.
fn one_thread() -> Result<tokio::runtime::Runtime, Refused> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Refused::configuration)
}

/// Make one multi-architecture tag out of one image per architecture, on the registry's side
///
/// Builders push `amd64-xenial`, `armhf-xenial` and so on; onetag verifies that each image is what
/// its tag says and publishes them as one index under `xenial`, through the registry's HTTP API.
/// It needs no Docker and no local image store.
///
/// Exit codes: 0 done, or nothing to do; 1 a bug of ours; 2 usage; 3 configuration; 4 not allowed;
/// 5 the registry could not be reached or kept failing; 6 held: verification or policy says no;
/// 7 an audit found problems.
#[derive(Parser, Debug)]
#[command(name = "onetag", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Publish(Box<publish::PublishArgs>),
    Audit(Box<audit::AuditArgs>),
    Verify(Box<verify::VerifyArgs>),
    Hook(hook::HookArgs),
    Serve(serve::ServeArgs),
    History(history::HistoryArgs),
    Rollback(history::RollbackArgs),
    /// Print the completion script of a shell
    ///
    /// For bash: `onetag completions bash > /usr/share/bash-completion/completions/onetag`.
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print a manual page, of onetag or of one of its commands
    Man {
        /// The command, for example `publish`
        command: Option<String>,
    },
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let result = match cli.command {
        Command::Publish(args) => publish::run(*args),
        Command::Audit(args) => audit::run(*args),
        Command::Verify(args) => verify::run(*args),
        Command::Hook(args) => hook::run(&args),
        Command::Serve(args) => serve::run(args),
        Command::History(args) => history::history(args),
        Command::Rollback(args) => history::rollback(args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "onetag", &mut script);
            Console::plain().data(&String::from_utf8_lossy(&script));
            Ok(Exit::Done)
        }
        Command::Man { command } => man(command.as_deref()),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(refused) => {
            Console::plain().error(&refused.message, refused.hint.as_deref());
            refused.exit.into()
        }
    }
}

fn man(command: Option<&str>) -> Result<Exit, Refused> {
    let mut onetag = Cli::command();
    onetag.build();
    let page = match command {
        None => onetag,
        Some(name) => {
            let known = onetag.find_subcommand(name).cloned();
            known.ok_or_else(|| Refused::usage(format!("`{name}` is not a command of onetag")))?
        }
    };
    let mut text = Vec::new();
    clap_mangen::Man::new(page).render(&mut text).map_err(Refused::usage)?;
    Console::plain().data(&String::from_utf8_lossy(&text));
    Ok(Exit::Done)
}
