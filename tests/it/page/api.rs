//! The API: its document, its answers, and who is not answered.

use serde_json::{Value, json};

use super::schema::faults;
use super::{NOBLE, RULES, UBUNTU, collection};
use crate::support::Service;
use crate::support::real::free_address;
use crate::support::service::ADMIN_TOKEN;

const VERSIONS: &str = "/api/v1/versions?repository=registry.example.com%2Fmultiarch%2Fubuntu";

async fn document(service: &Service) -> Value {
    service.json("/api/openapi.json").await
}

/// The schema of a route's answer with this status.
fn schema_of<'d>(document: &'d Value, method: &str, path: &str, status: &str) -> &'d Value {
    let path = path.split('?').next().expect("a path").replace('/', "~1");
    let responses = &document["paths"][path.replace("~1", "/")][method]["responses"];
    let range = format!("{}XX", &status[..1]);
    let response = responses.get(status).or_else(|| responses.get(&range));
    let response = response.unwrap_or_else(|| panic!("{method} {path} does not say what {status} is: {responses}"));
    let content = response["content"].as_object().expect("a content").values().next().expect("a media type");
    &content["schema"]
}

#[tokio::test]
async fn the_document_names_every_route() {
    let service = collection().await;
    let document = document(&service).await;
    assert_eq!(document["openapi"], "3.1.0");
    let routes: Vec<String> = document["paths"]
        .as_object()
        .expect("paths")
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().expect("methods").keys().map(move |method| format!("{method} {path}"))
        })
        .collect();
    insta::assert_snapshot!(routes.join("\n"), @r"
    get /
    get /api/openapi.json
    get /api/v1/history
    get /api/v1/jobs
    post /api/v1/publish
    get /api/v1/quarantine
    post /api/v1/release
    get /api/v1/repositories
    post /api/v1/rollback
    get /api/v1/versions
    get /assets/{name}
    get /events
    get /metrics
    post /reconcile
    get /repository
    get /tag
    ");
    // What is registered is registered with its description, and in no other way.
    for file in ["src/serve/admin/mod.rs", "src/serve/page/mod.rs"] {
        let source = std::fs::read_to_string(format!("{}/{file}", env!("CARGO_MANIFEST_DIR"))).expect("a source");
        assert!(!source.contains(".route("), "{file} has a route that nobody describes");
        assert_eq!(source.matches(".routes(").count(), source.matches(".routes(routes!(").count(), "{file}");
    }
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("methods") {
            assert!(operation["summary"].is_string(), "{method} {path} says nothing");
            let is_changing = path.starts_with("/api") && method == "post";
            assert_eq!(operation["security"].is_array(), is_changing, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn every_answer_is_what_the_document_says() {
    let service = collection().await;
    let document = document(&service).await;
    let of_debian = "/api/v1/versions?repository=registry.example.com%2Fmultiarch%2Fdebian&state=attention&limit=1";
    let wrong = [
        "/api/v1/versions",
        "/api/v1/versions?repository=Nowhere!",
        &format!("{VERSIONS}&after=x"),
        &format!("{VERSIONS}&limit=-1"),
        "/api/v1/history?tag=%20",
    ];
    let right = ["/api/v1/repositories", VERSIONS, of_debian, "/api/v1/history", "/api/v1/jobs", "/api/v1/quarantine"];
    for (path, status) in right.iter().map(|path| (path, 200)).chain(wrong.iter().map(|path| (path, 400))) {
        let answer = service.ask("GET", path).send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), status, "{path}");
        let media_type = if status == 200 { "application/json" } else { "application/problem+json" };
        assert_eq!(answer.headers()["content-type"], media_type, "{path}");
        let body: Value = serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON");
        let schema = schema_of(&document, "get", path, &status.to_string());
        assert_eq!(faults(&document, schema, &body), [""; 0], "{path}");
    }
    let target = json!({ "repository": "registry.example.com/multiarch/ubuntu", "tag": "jammy" });
    for (what, token, body, status) in [
        ("publish", ADMIN_TOKEN, target.to_string(), "202"),
        ("publish", "wrong", target.to_string(), "401"),
        ("publish", ADMIN_TOKEN, "{}".to_owned(), "400"),
        ("release", ADMIN_TOKEN, target.to_string(), "202"),
        ("rollback", ADMIN_TOKEN, target.to_string(), "502"),
    ] {
        let path = format!("/api/v1/{what}");
        let answer = service.ask("POST", &path).bearer_auth(token).body(body).send().await.expect("an answer");
        assert_eq!(answer.status().as_str(), status, "{what}");
        let body: Value = serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON");
        assert_eq!(faults(&document, schema_of(&document, "post", &path, status), &body), [""; 0], "{what} {status}");
    }
    let metrics = service.get("/metrics").await;
    let counted = "onetag_versions{repository=\"registry.example.com/multiarch/ubuntu\",state=\"held\"} 2";
    assert!(metrics.contains(counted), "{metrics}");
}

#[tokio::test]
async fn versions_are_read_page_by_page_and_filtered() {
    let service = collection().await;
    let (mut seen, mut next) = (Vec::new(), String::new());
    loop {
        let page = service.json(&format!("{VERSIONS}&limit=7{next}")).await;
        assert_eq!(page["counts"]["versions"], 20);
        seen.extend(page["versions"].as_array().expect("versions").iter().map(|it| it["tag"].to_string()));
        let Some(after) = page["next"].as_str() else { break };
        next = format!("&after={}", after.replace(':', "%3A"));
    }
    assert_eq!(seen.len(), 20);
    assert_eq!(seen[..3], ["\"24.04\"", "\"25.10\"", "\"jammy\""], "the stopped ones first");
    let held = service.json(&format!("{VERSIONS}&state=held&arch=arm64&name=24")).await;
    let version = &held["versions"][0];
    assert_eq!((held["counts"]["versions"].as_u64(), version["trouble"]["kind"].as_str()), (Some(1), Some("held")));
    assert_eq!((&version["state"], version["since_ms"].is_i64()), (&json!("mismatch"), true));
}

#[tokio::test]
async fn names_that_were_made_to_lead_here_and_forms_of_other_sites_are_refused() {
    let service = collection().await;
    let own = service.origin();
    let port = own.rsplit(':').next().expect("a port");
    for path in ["/", UBUNTU, "/events", "/api/v1/jobs", "/metrics", "/api/openapi.json"] {
        for host in ["evil.example", &format!("evil.example:{port}"), "127.0.0.1.evil.example"] {
            let answer = service.ask("GET", path).header("host", host).send().await.expect("an answer");
            assert_eq!(answer.status(), 421, "{path} {host}");
            assert!(answer.text().await.expect("a body").contains("admin_hosts"));
        }
        let answer = service.ask("GET", path).header("host", format!("localhost:{port}")).send().await;
        assert_eq!(answer.expect("an answer").status(), 200, "{path}");
    }
    let form = format!("repository=registry.example.com/multiarch/ubuntu&tag=jammy&token={ADMIN_TOKEN}");
    let send = async |headers: &[(&str, &str)]| {
        let request = service.ask("POST", "/reconcile").header("content-type", "application/x-www-form-urlencoded");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.body(form.clone()).send().await.expect("an answer").status().as_u16()
    };
    for (headers, status) in [
        (&[("origin", "http://evil.example")][..], 403),
        (&[("origin", "null")], 403),
        (&[("sec-fetch-site", "cross-site")], 403),
        (&[("origin", &own), ("sec-fetch-site", "same-origin")], 200),
    ] {
        // A redirection is followed, to the tag's page.
        assert_eq!(send(headers).await, status, "{headers:?}");
    }
    let publish =
        service.ask("POST", "/api/v1/publish").bearer_auth(ADMIN_TOKEN).header("origin", "http://evil.example");
    assert_eq!(publish.body("{}").send().await.expect("an answer").status(), 403);
}

#[tokio::test]
async fn a_name_that_is_said_to_be_ours_is_answered_and_its_page_may_change_things() {
    let sections = format!("admin_hosts = [\"onetag.example.com\"]\n{RULES}");
    let service = Service::start_raw(&free_address(), &sections, &[]).await;
    for (host, status) in [
        ("onetag.example.com", 200),
        ("OneTag.Example.com:443", 200),
        ("other.example.com", 421),
        ("onetag.example.com.evil.example", 421),
    ] {
        let answer = service.ask("GET", "/api/v1/jobs").header("host", host).send().await.expect("an answer");
        assert_eq!(answer.status(), status, "{host}");
    }
    let target = json!({ "repository": "registry.example.com/multiarch/ubuntu", "tag": "jammy" }).to_string();
    for (origin, status) in [("https://onetag.example.com", 202), ("https://other.example.com", 403)] {
        let request = service.ask("POST", "/api/v1/release").bearer_auth(ADMIN_TOKEN).header("origin", origin);
        let answer = request.header("host", "onetag.example.com").body(target.clone()).send().await;
        assert_eq!(answer.expect("an answer").status(), status, "{origin}");
    }
}

#[tokio::test]
async fn a_page_that_cannot_be_shown_says_so_as_a_page() {
    let service = collection().await;
    for (method, path, status) in [
        ("GET", "/repository", 400),
        ("GET", "/repository?repository=Nowhere!", 400),
        ("GET", "/tag?repository=a&repository=b&tag=c", 400),
        ("GET", "/tag?repository=a", 400),
        ("POST", "/reconcile", 415),
    ] {
        let answer = service.ask(method, path).send().await.expect("an answer");
        assert_eq!(answer.status(), status, "{method} {path}");
        assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8", "{method} {path}");
        assert!(answer.text().await.expect("a body").contains("All repositories"), "{method} {path}");
    }
}

#[tokio::test]
async fn the_page_may_do_nothing_but_what_is_its_own() {
    let service = collection().await;
    for path in ["/", UBUNTU, NOBLE, "/repository?repository=nowhere", "/events"] {
        let answer = service.ask("GET", path).send().await.expect("an answer");
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().expect("a text").to_owned());
        let policy = header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
        for part in ["script-src 'self'", "base-uri 'none'", "form-action 'self'", "frame-ancestors 'none'"] {
            assert!(policy.contains(part), "{policy}");
        }
        assert_eq!(header("x-content-type-options").as_deref(), Some("nosniff"), "{path}");
        assert_eq!(header("cross-origin-opener-policy").as_deref(), Some("same-origin"), "{path}");
        assert_eq!(header("referrer-policy").as_deref(), Some("same-origin"), "{path}");
        assert_eq!(header("cache-control").as_deref(), Some("no-store"), "{path}");
    }
    let page = service.get("/").await;
    let assets: Vec<&str> = page.split('"').filter(|part| part.starts_with("/assets/")).collect();
    assert_eq!(assets.len(), 4, "the sign twice, the style and the script");
    for asset in assets {
        let answer = service.ask("GET", asset).send().await.expect("an answer");
        assert_eq!(answer.headers()["cache-control"], "public, max-age=31536000, immutable");
        assert_eq!(answer.status(), 200);
    }
    assert_eq!(service.ask("GET", "/assets/other.js").send().await.expect("an answer").status(), 404);
}
