//! `onetag history` and `onetag rollback`: what a running service did, and putting it back.

use std::time::{Duration, UNIX_EPOCH};

use clap::Args;
use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use super::console::{Console, DIM, GREEN, RED, YELLOW};
use super::settings::{Output, OutputArgs};
use super::{Exit, Refused, one_thread};
use crate::model::text::{clean, first_cause};
use crate::model::{Digest, Repository, Tag};
use crate::registry::client_for;

/// A roll-back may have to wait for a run that is under way.
const LONGEST_ANSWER: Duration = Duration::from_secs(180);

/// Where a running service is.
#[derive(Args, Debug)]
struct ServerArgs {
    /// The service's `admin` address
    #[arg(long, env = "ONETAG_SERVER", value_name = "URL", default_value = "http://127.0.0.1:8471")]
    server: Url,
}

/// Show what a running service published, and why it did not, newest first
#[derive(Args, Debug)]
pub(super) struct HistoryArgs {
    #[command(flatten)]
    server: ServerArgs,

    /// Of this repository only
    #[arg(short, long, env = "ONETAG_REPOSITORY", value_name = "REPOSITORY")]
    repository: Option<Repository>,

    /// Of this plain tag only
    #[arg(short, long, value_name = "TAG")]
    tag: Option<Tag>,

    /// How many entries
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    limit: u32,

    #[command(flatten)]
    output: OutputArgs,
}

/// Put an earlier index back under a plain tag, and hold the tag there
///
/// The running service writes the index that it published before (or the one named by `--to`) and
/// leaves the tag alone until one of its images changes, or until it is released with `--release`.
/// Needs the service's admin token in ONETAG_ADMIN_TOKEN.
#[derive(Args, Debug)]
pub(super) struct RollbackArgs {
    #[command(flatten)]
    server: ServerArgs,

    /// Repository that holds the tag
    #[arg(short, long, env = "ONETAG_REPOSITORY", value_name = "REPOSITORY")]
    repository: Repository,

    /// The plain tag
    #[arg(short, long, value_name = "TAG")]
    tag: Tag,

    /// The index to return to; the one before by default
    #[arg(long, value_name = "DIGEST", conflicts_with = "release")]
    to: Option<Digest>,

    /// Let the tag follow its images again
    #[arg(long)]
    release: bool,

    #[command(flatten)]
    output: OutputArgs,
}

/// Shows the journal.
pub(super) fn history(args: HistoryArgs) -> Result<Exit, Refused> {
    let console = args.output.messages.start();
    let mut url = join(&args.server.server, "api/v1/history")?;
    url.query_pairs_mut().append_pair("limit", &args.limit.to_string());
    if let Some(repository) = &args.repository {
        url.query_pairs_mut().append_pair("repository", &repository.to_string());
    }
    if let Some(tag) = &args.tag {
        url.query_pairs_mut().append_pair("tag", tag.as_str());
    }
    let answer = ask(&args.server.server, |client| client.get(url))?;
    let entries = answer.get("history").and_then(Value::as_array).cloned().unwrap_or_default();
    match args.output.output {
        Output::Json => entries.iter().for_each(|entry| console.data(&format!("{entry}\n"))),
        Output::Text if entries.is_empty() => console.hint("the journal has nothing about this yet"),
        Output::Text => entries.iter().for_each(|entry| console.report(&block(entry))),
    }
    Ok(Exit::Done)
}

/// Puts an index back, or lets go.
pub(super) fn rollback(args: RollbackArgs) -> Result<Exit, Refused> {
    let console = args.output.messages.start();
    let what = if args.release { "api/v1/release" } else { "api/v1/rollback" };
    let url = join(&args.server.server, what)?;
    let token = std::env::var("ONETAG_ADMIN_TOKEN").ok().filter(|token| !token.is_empty());
    let token = SecretString::from(token.ok_or_else(|| {
        Refused::configuration("this needs the service's admin token in the environment: set ONETAG_ADMIN_TOKEN")
    })?);
    let mut body = json!({ "repository": args.repository.to_string(), "tag": args.tag.as_str() });
    if let Some(to) = &args.to {
        body["to"] = json!(to.as_str());
    }
    let answer = ask(&args.server.server, |client| {
        let bearer = format!("Bearer {}", token.expose_secret());
        client
            .post(url)
            .header("authorization", bearer)
            .header("content-type", "application/json")
            .body(body.to_string())
    })?;
    match args.output.output {
        Output::Json => console.data(&format!("{answer}\n")),
        Output::Text if args.release => console.report(&format!("released {}\n", args.tag)),
        Output::Text => {
            let digest = text(&answer, "digest");
            console.report(&format!("{YELLOW}rolled back{YELLOW:#} {} {digest}\n", args.tag));
            show_hold(&console);
        }
    }
    Ok(Exit::Done)
}

fn show_hold(console: &Console) {
    console.hint("the tag stays there until one of its images changes, or `onetag rollback --release`");
}

fn join(server: &Url, path: &str) -> Result<Url, Refused> {
    server.join(path).map_err(|error| Refused::usage(format!("`{server}` is no address of a service: {error}")))
}

/// One request to the service.
fn ask(server: &Url, request: impl FnOnce(&reqwest::Client) -> reqwest::RequestBuilder) -> Result<Value, Refused> {
    let failing = |message: String| Refused { exit: Exit::Failing, message, hint: None };
    let runtime = one_thread()?;
    runtime.block_on(async {
        let client = client_for(server).timeout(LONGEST_ANSWER).build().map_err(Refused::configuration)?;
        let unreached = |error: reqwest::Error| {
            let mut refused = failing(format!("{server} could not be reached: {}", first_cause(&error.without_url())));
            refused.hint = Some("is `onetag serve` running, and is `--server` its `admin` address?".to_owned());
            refused
        };
        let answer = request(&client).send().await.map_err(unreached)?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(unreached)?;
        let value: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        if status.is_success() {
            return Ok(value);
        }
        let detail = value.get("detail").and_then(Value::as_str).map_or(String::new(), |text| clean(text, 600));
        let exit = match status.as_u16() {
            401 | 403 => Exit::NotAllowed,
            400 | 404 | 409 => Exit::Held,
            _ => Exit::Failing,
        };
        let hint = (status.as_u16() == 401).then(|| "is ONETAG_ADMIN_TOKEN the service's `admin_token`?".to_owned());
        let status = status.as_u16();
        Err(Refused { exit, message: format!("the service refused ({status}): {detail}"), hint })
    })
}

fn text(value: &Value, key: &str) -> String {
    clean(value.get(key).and_then(Value::as_str).unwrap_or("-"), 200)
}

/// One entry: when, what and where; then which index replaced which, from what, and why.
fn block(entry: &Value) -> String {
    let recorded = entry.get("recorded_at_ms").and_then(Value::as_u64).unwrap_or(0);
    let when = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(recorded));
    let act = text(entry, "act");
    let style = match act.as_str() {
        "pushed" | "unchanged" => GREEN,
        "held" | "failed" => RED,
        _ => YELLOW,
    };
    let name = format!("{}:{}", text(entry, "repository"), text(entry, "tag"));
    let mut lines = vec![format!("{when}  {style}{act:11}{style:#}  {name}  {DIM}{}{DIM:#}", text(entry, "trigger"))];
    lines.extend(indexes(entry));
    let images = entry.get("images").and_then(Value::as_object).into_iter().flatten();
    lines.extend(images.map(|(tag, image)| {
        let (verdict, platform) = (text(image, "verdict"), text(image, "platform"));
        let digest = short(&text(image, "digest"));
        format!("  {DIM}{digest}{DIM:#}  {}: {verdict}, {platform}", clean(tag, 200))
    }));
    let reasons = entry.get("reasons").and_then(Value::as_array).into_iter().flatten();
    lines.extend(reasons.map(|reason| {
        let style = if text(reason, "weight") == "hold" { RED } else { YELLOW };
        let about = reason.get("tag").and_then(Value::as_str).map(|tag| format!("{}: ", clean(tag, 200)));
        let (code, message) = (text(reason, "code"), clean_whole(reason, "message"));
        format!("  {style}{code}{style:#}: {}{message}", about.unwrap_or_default())
    }));
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// The index that the tag holds since, in full, and the one before; nothing where neither is known.
fn indexes(entry: &Value) -> Option<String> {
    let digest = |key| entry.get(key).and_then(Value::as_str).map(|digest| clean(digest, 200));
    match (digest("digest"), digest("previous")) {
        (Some(new), Some(old)) if new != old => Some(format!("  {new}  {DIM}was {}{DIM:#}", short(&old))),
        (Some(new), _) => Some(format!("  {new}")),
        (None, Some(old)) => Some(format!("  {old}  {DIM}stays{DIM:#}")),
        (None, None) => None,
    }
}

/// The first letters of a digest, which nobody takes for a whole one.
fn short(digest: &str) -> String {
    digest.strip_prefix("sha256:").and_then(|hex| hex.get(..12)).unwrap_or("-").to_owned()
}

fn clean_whole(value: &Value, key: &str) -> String {
    clean(value.get(key).and_then(Value::as_str).unwrap_or("-"), 600)
}
