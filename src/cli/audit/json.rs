//! An audit as one JSON document, written while it is found out: memory does not grow with it.

use serde::Serialize;
use serde_json::json;

use super::{Report, Told};
use crate::cli::console::Console;
use crate::model::text::clean;
use crate::model::version::{Summary, Version};
use crate::model::{Repository, Stated};
use crate::plan::client;

/// Writes the document piece by piece.
#[derive(Default)]
pub(super) struct Json {
    has_versions: bool,
}

#[derive(Serialize)]
struct Element<'a> {
    #[serde(flatten)]
    version: &'a Version,
    #[serde(skip_serializing_if = "Option::is_none")]
    choice: Option<serde_json::Value>,
}

impl Report for Json {
    fn begin(&mut self, console: &Console, repository: &Repository) {
        console.data(&format!("{{\"repository\":{},\"versions\":[", json!(repository.to_string())));
    }

    fn tell(&mut self, console: &Console, told: Told<'_>) {
        let choice = told.choice.map(|(client, host, choice)| choice_json(client, host, choice));
        let element = Element { version: &told.audited.version, choice };
        let element = serde_json::to_string(&element).expect("strings and numbers always serialize");
        let joint = if self.has_versions { ",\n" } else { "\n" };
        self.has_versions = true;
        console.data(&format!("{joint}{element}"));
    }

    fn end(&mut self, console: &Console, summary: &Summary, requests: u64) {
        let mut summary = serde_json::to_value(summary).expect("numbers always serialize");
        summary["requests"] = json!(requests);
        console.data(&format!("\n],\"summary\":{summary}}}\n"));
    }
}

fn choice_json(client: client::Client, host: &Stated, choice: Option<client::Choice>) -> serde_json::Value {
    let digest = choice.as_ref().and_then(|choice| choice.digest.as_ref()).map(ToString::to_string);
    let platform = choice.as_ref().and_then(|choice| choice.platform.as_ref());
    json!({
        "client": client.as_str(),
        "host": host.to_string(),
        "digest": digest,
        "platform": platform.map(|platform| clean(&platform.to_string(), 60)),
        "why": choice.map_or("there is no index".to_owned(), |choice| clean(&choice.why, 200)),
    })
}
