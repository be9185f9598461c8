//! Text that wants to be more than text: nothing of it runs, and nothing breaks the layout.

use onetag::model::version::{ImageState, Problem};
use onetag::store::{End, Trigger};
use serde_json::json;

use super::{UBUNTU, data, showing};
use crate::support::browser::Browser;

const MARKUP: &str =
    "</td></table><script>window.hit=1</script><img src=x onerror=window.hit=2>\"'><style>*{display:none}</style>";
const BIDI: &str = "\u{202e}txt.gpj\u{2066}\u{200b}\u{feff}\u{1b}[31m\u{0}\u{7}\r\n\u{2028}";

#[tokio::test]
async fn what_a_registry_or_a_builder_wrote_runs_nothing_and_breaks_nothing() {
    let long = "W".repeat(4000);
    let nasty = format!("{MARKUP}{BIDI}{long}");
    let told = nasty.clone();
    let service = showing(async |store| {
        let ubuntu = data::repository("registry.example.com/multiarch/ubuntu");
        let mut version = data::version("evil", &["amd64", "arm64"], &[("arm64", ImageState::Mismatch)]);
        for image in &mut version.images {
            image.arch = Some(format!("{MARKUP}{}", image.name()));
            image.platform = Some(nasty.clone());
            image.tag = Some(nasty.clone());
            image.digest = Some(format!("sha256:{nasty}"));
            image.detail = Some(nasty.clone());
        }
        version.digest = Some(nasty.clone());
        let (code, tag, message, remedy) = (nasty.clone(), Some(nasty.clone()), nasty.clone(), Some(nasty.clone()));
        version.problems = vec![Problem { code, tag, message, remedy }];
        store.put_versions(&ubuntu, vec![version], None).await.expect("kept");
        let mut entry = data::pushed(None, "index", &[(&nasty, "a")]);
        entry.reasons = json!([{ "code": nasty, "tag": nasty, "message": nasty, "weight": nasty }]);
        let trigger = Trigger::Hook(nasty.clone());
        data::run(store, &ubuntu, "evil", trigger, End::Held { reason: nasty.clone() }, Some(entry)).await;
    })
    .await;
    let browser = Browser::start().await;
    let origin = service.origin();
    let mut query = form_urlencoded::Serializer::new(String::new());
    for name in ["state", "arch", "name"] {
        query.append_pair(name, &told);
    }
    let reflected = query.finish();
    let tag = UBUNTU.replace("/repository?", "/tag?");
    for path in ["/", UBUNTU, &format!("{tag}&tag=evil"), &format!("{UBUNTU}&{reflected}")] {
        for width in [1280, 390] {
            browser.look("light", width, 844).await;
            browser.open(&format!("{origin}{path}")).await;
            let script = "return [window.hit ?? null, document.querySelectorAll('main script, main img, main style').length, \
                          document.documentElement.scrollWidth - document.documentElement.clientWidth, \
                          [...document.querySelector('main').innerText].filter((c) => /[\\u202a-\\u202e\\u2066-\\u2069\\u0000-\\u0008\\u001b\\u2028]/.test(c)).length]";
            assert_eq!(browser.value(script, &[]).await, json!([null, 0, 0, 0]), "{path} {width}");
        }
    }
    assert!(browser.all("form.filter").await.len() == 1, "the form is still there");
    browser.assert_calm(&origin).await;

    for path in
        ["/repository?repository=%3Cscript%3Ewindow.hit%3D1%3C/script%3E", "/tag?repository=a/b&tag=%3Cimg%20src=x%3E"]
    {
        browser.open(&format!("{origin}{path}")).await;
        assert_eq!(browser.text("h1").await, "Bad Request");
        assert_eq!(
            browser.value("return [window.hit ?? null, document.querySelectorAll('main img').length]", &[]).await,
            json!([null, 0])
        );
    }
    let answer = service.json(&UBUNTU.replace("/repository", "/api/v1/versions")).await;
    assert_eq!(answer["versions"][0]["problems"][0]["message"], told, "the API tells what was found");
    let jobs = service.json("/api/v1/jobs").await;
    assert!(jobs["troubled"][0]["trouble"]["reason"].as_str().expect("a text").chars().all(|c| !c.is_control()));
}
