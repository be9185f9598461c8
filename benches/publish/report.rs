//! The figures as text.

use std::time::Duration;

use crate::run::Run;
use crate::tools::Tool;
use crate::{IMAGES, Options, short};

/// What one tool did, or why it did not.
pub(crate) struct Row {
    pub(crate) tool: Tool,
    /// The median time, and the last run.
    pub(crate) result: Result<(Duration, Run), String>,
}

impl Row {
    pub(crate) fn seconds(&self) -> f64 {
        self.result.as_ref().map_or(f64::NAN, |(time, _)| time.as_secs_f64())
    }

    pub(crate) fn requests(&self) -> f64 {
        self.result.as_ref().map_or(f64::NAN, |(_, run)| run.seen.requests.len() as f64)
    }

    pub(crate) fn rounds(&self, rtt: Duration) -> f64 {
        self.result.as_ref().map_or(f64::NAN, |(_, run)| run.seen.rounds(rtt) as f64)
    }
}

/// A figure that was promised to be no more than something.
pub(crate) struct Bounded {
    what: &'static str,
    unit: &'static str,
    found: f64,
    bound: f64,
}

impl Bounded {
    pub(crate) fn new(what: &'static str, unit: &'static str, found: f64, bound: f64) -> Bounded {
        Bounded { what, unit, found, bound }
    }

    /// Nothing measured is nothing kept.
    pub(crate) fn is_kept(&self) -> bool {
        self.found <= self.bound
    }
}

pub(crate) fn print(options: &Options, rows: &[Row], missing: &[&str], bounds: &[Bounded]) {
    let (rtt, rounds, images) = (options.rtt, options.rounds, IMAGES.len());
    println!("\n{images} images to one index, {rtt} ms round trip, median of {rounds} cold runs, interleaved\n");
    println!("{:<26} requests connections round trips  seconds   ratio", "tool");
    for row in rows {
        print_row(row, rtt, rows[0].seconds());
    }
    if !missing.is_empty() {
        println!("not found: {}", missing.join(", "));
    }

    println!("\ncommands ($HOME is empty before each run):");
    for row in rows.iter().filter(|row| !row.tool.steps.is_empty()) {
        print_commands(&row.tool);
    }
    if options.trace {
        rows.iter().for_each(print_trace);
    }

    println!("\n{:<58} {:>9} {:>9}", "bounds", "measured", "at most");
    for Bounded { what, unit, found, bound } in bounds {
        let is_whole = unit.is_empty();
        let digits = if is_whole { 0 } else { 2 };
        let verdict = if found <= bound { "" } else { "  EXCEEDED" };
        println!("{what:<58} {found:>9.digits$} {bound:>9.digits$} {unit}{verdict}");
    }
}

fn print_row(row: &Row, rtt: u64, ours: f64) {
    let name = row.tool.name;
    match &row.result {
        Ok((time, run)) => {
            let (requests, connections) = (run.seen.requests.len(), run.seen.connections);
            let seconds = time.as_secs_f64();
            let (round_trips, ratio) = (seconds * 1e3 / rtt as f64, seconds / ours);
            println!("{name:<26} {requests:>8} {connections:>11} {round_trips:>11.1} {seconds:>8.3} {ratio:>7.2}");
        }
        Err(failure) => println!("{name:<26} failed: {failure}"),
    }
}

fn print_commands(tool: &Tool) {
    println!("  # {} ({})", tool.name, tool.version);
    for step in &tool.steps {
        let mut words = step.iter();
        let program = words.next().map_or("", |program| short(program));
        let rest: Vec<&str> = words.map(String::as_str).collect();
        println!("  {program} {}", rest.join(" "));
    }
    if let Some((name, content)) = &tool.file {
        println!("    # $HOME/{name}: {}", content.split_whitespace().collect::<Vec<_>>().join(" "));
    }
}

fn print_trace(row: &Row) {
    let Ok((_, run)) = &row.result else { return };
    println!("\n{}: when each request was sent, in ms", row.tool.name.trim());
    for request in &run.seen.requests {
        let at = (request.at - run.started).as_millis();
        println!("  {at:>5}  connection {:<3} {}", request.connection, request.line);
    }
    println!("  {:>5}  exit", run.time.as_millis());
}
