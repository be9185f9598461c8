//! Reading: the matrix, its filters, a tag's history; with a script, without one, by keyboard alone.

use onetag::model::version::ImageState;
use serde_json::json;

use super::{NOBLE, UBUNTU, collection, data, showing};
use crate::support::browser::{Browser, ENTER, TAB};
use crate::support::service::ADMIN_TOKEN;

/// The versions in the order of their rows.
async fn rows(browser: &Browser) -> Vec<String> {
    browser.texts("table.matrix tbody th a").await
}

#[tokio::test]
async fn the_matrix_says_how_every_version_stands_and_why_the_stopped_ones_first() {
    let service = collection().await;
    let browser = Browser::start().await;
    browser.open(&service.origin()).await;
    assert_eq!(browser.texts(".cards b").await, ["buster", "25.10", "24.04"], "the newest trouble first");
    assert!(browser.text(".cards li").await.contains("the account needs push"));
    assert_eq!(browser.texts("table.overview tbody tr:last-child td").await[..3], ["14 of 20", "6", "3"]);

    browser.click("table.overview tbody tr:last-child a").await;
    browser.wait_for("h1", "registry.example.com/multiarch/ubuntu").await;
    let columns = ["Version", "amd64", "arm64", "i386", "armhf", "armel", "ppc64el", "riscv64", "s390x"];
    assert_eq!(browser.texts("table.matrix thead th").await, columns);
    let versions = rows(&browser).await;
    assert_eq!(versions[..7], ["24.04", "25.10", "jammy", "16.04", "22.04", "latest", "14.04"]);
    assert_eq!(versions.len(), 20);
    let badges = browser.texts("table.matrix tbody th .badge").await;
    assert_eq!(badges[..6], ["‖ held", "‖ held", "‖ held", "✕ dangling", "↻ stale", "◆ foreign"]);
    let why = browser.texts("table.matrix .why").await;
    assert_eq!(why.len(), 6, "a version in order needs no words");
    assert!(why[0].starts_with("arm64-24.04: the tag promises linux/arm64 but the image config says linux/amd64"));
    assert!(why[0].contains("since 20") && why[0].contains("UTC"), "{}", why[0]);
    assert!(why[2].starts_with("rolled back"), "{}", why[2]);

    // A state is a mark, a word and a colour; where the word is not seen, it is heard.
    let cells = browser.value("return [...document.querySelectorAll('table.matrix tbody tr:first-child')].slice(0, 2).map((row) => [...row.querySelectorAll('td')].slice(0, 3).map((cell) => [cell.className, cell.textContent.replace(/[0-9a-f]{7}$/, '')]))", &[]).await;
    assert_eq!(cells[0], json!([["good", "✓ok "], ["bad", "≠mismatch "], ["none", "·none"]]), "{cells}");
    browser.assert_calm(&service.origin()).await;
}

#[tokio::test]
async fn a_list_is_filtered_by_state_architecture_and_name() {
    let service = collection().await;
    let browser = Browser::start().await;
    let list = async |query: &str| {
        browser.open(&format!("{}{UBUNTU}{query}", service.origin())).await;
        rows(&browser).await
    };
    browser.open(&format!("{}{UBUNTU}", service.origin())).await;
    browser.type_into("select[name=state]", "stale").await;
    browser.click("form.filter button").await;
    browser.wait_for(".pages", "1 of 1 version").await;
    assert_eq!(rows(&browser).await, ["22.04"]);
    assert_eq!(browser.value("return document.querySelector('select[name=state]').value", &[]).await, "stale");

    browser.type_into("input[name=name]", "no-such").await;
    browser.click("form.filter button").await;
    browser.wait_for("#live", "No version is like that").await;
    browser.click(".empty a").await;
    browser.wait_for(".pages", "20 of 20 versions").await;

    assert_eq!(list("&state=attention").await.len(), 6);
    assert_eq!(list("&arch=riscv64&state=missing").await, ["25.10"]);
    assert_eq!(list("&name=04&arch=i386").await, ["16.04", "14.04", "18.04", "20.04"]);
    browser.click(".summary a.warn").await;
    browser.wait_for(".pages", "1 of 1 version").await;
    assert_eq!(rows(&browser).await, ["latest"]);
    browser.assert_calm(&service.origin()).await;
}

#[tokio::test]
async fn a_history_says_what_changed_between_two_publications_who_asked_and_why() {
    let service = collection().await;
    let browser = Browser::start().await;
    browser.open(&format!("{}{NOBLE}", service.origin())).await;
    let acts = browser.texts(".history .deed .badge").await;
    assert_eq!(acts, ["held", "published", "published", "published"]);
    let entries = browser.texts(".history > li").await;
    assert!(entries[0].contains("config-arch-mismatch") && entries[0].contains("hook quay"), "{}", entries[0]);
    assert!(entries[1].contains("asked for by a scan"), "{}", entries[1]);
    let short = |of: &str| data::digest(of)[7..14].to_owned();
    let changes = browser.texts(".history > li:nth-child(2) .changes li").await;
    let (b1, b2) = (short("b1"), short("b2"));
    assert_eq!(
        changes,
        [
            format!("+ added s390x-24.04 {}", short("d")),
            format!("↻ updated arm64-24.04 {b1} → {b2}"),
            format!("− removed armhf-24.04 {}", short("c1")),
        ]
    );
    assert_eq!(browser.texts(".history > li:nth-child(4) .changes li").await.len(), 2, "the first has all that it was");
    assert!(browser.text(".problems").await.contains("push the right image"), "the remedy");
    browser.assert_calm(&service.origin()).await;
}

#[tokio::test]
async fn everything_is_read_and_asked_for_without_a_script() {
    let service = collection().await;
    let browser = Browser::start().await;
    browser.command("Emulation.setScriptExecutionDisabled", json!({ "value": true })).await;
    browser.open(&format!("{}{UBUNTU}", service.origin())).await;
    assert_eq!(browser.all("#liveness[hidden]").await.len(), 1, "nobody says that the page is live");
    assert_eq!(browser.all("table.matrix tbody").await.len(), 20);
    browser.type_into("select[name=state]", "held").await;
    browser.click("form.filter button").await;
    browser.click("#v-24\\.04").await;
    browser.find(".history > li:nth-child(4)").await;
    browser.type_into("input[name=token]", ADMIN_TOKEN).await;
    browser.click("form.reconcile button").await;
    browser.find(".notice.good").await;
    browser.assert_calm(&service.origin()).await;
}

#[tokio::test]
async fn a_keyboard_is_enough_and_shows_where_it_is() {
    let service = collection().await;
    let browser = Browser::start().await;
    browser.open(&format!("{}{UBUNTU}", service.origin())).await;
    let focused = async || {
        let script = "const it = document.activeElement, style = getComputedStyle(it); \
                      return [it.id || it.name || it.className || it.tagName, style.outlineStyle]";
        let value = browser.value(script, &[]).await;
        assert_eq!(value[1], "solid", "the focus is not to be seen: {value}");
        value[0].as_str().expect("a name").to_owned()
    };
    browser.press(TAB).await;
    assert_eq!(focused().await, "skip");
    browser.press(ENTER).await;
    let mut passed = Vec::new();
    while passed.last().is_none_or(|it| it != "v-24.04") {
        browser.press(TAB).await;
        passed.push(focused().await);
        assert!(passed.len() < 30, "{passed:?}");
    }
    assert_eq!(passed[..4], ["state", "arch", "name", "BUTTON"], "the skip link leads past the head");
    assert!(passed.contains(&"matrix".to_owned()), "what scrolls can be scrolled by keys: {passed:?}");
    browser.press(ENTER).await;
    browser.wait_for("h1", "24.04").await;
    browser.press(&TAB.repeat(5)).await;
    assert_eq!(focused().await, "token");
    browser.press(ADMIN_TOKEN).await;
    browser.press(ENTER).await;
    browser.wait_for(".notice.good", "It will be looked at now").await;
    browser.assert_calm(&service.origin()).await;
}

#[tokio::test]
async fn ten_thousand_versions_are_a_small_page_with_the_next_one_behind_it() {
    let words: Vec<&str> = data::ARCHITECTURES.iter().map(|(word, _)| *word).collect();
    let service = showing(async |store| {
        let state = |n: usize| if n == 9_999 { ImageState::Dangling } else { ImageState::Ok };
        let versions = (0..10_000).map(|n| data::version(&format!("v{n:05}"), &words, &[("s390x", state(n))]));
        let ubuntu = data::repository("registry.example.com/multiarch/ubuntu");
        store.put_versions(&ubuntu, versions.collect(), None).await.expect("kept");
    })
    .await;
    assert!(service.get(UBUNTU).await.len() < 150_000, "{}", service.get(UBUNTU).await.len());
    let browser = Browser::start().await;
    browser.open(&format!("{}{UBUNTU}", service.origin())).await;
    assert_eq!(browser.text(".summary").await.replace('\u{202f}', " "), "10 000 in all\n1 dangling\n9 999 ok");
    assert_eq!(rows(&browser).await[..2], ["v09999", "v00000"]);
    browser.click("#next").await;
    browser.find("#first").await;
    assert_eq!(rows(&browser).await[..2], ["v00049", "v00050"]);
    browser.type_into("input[name=name]", "0999").await;
    browser.press(ENTER).await;
    browser.wait_for(".pages", "of 11 versions").await;
    browser.assert_calm(&service.origin()).await;
}
