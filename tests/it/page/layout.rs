//! What everybody can read: on a phone, in the dark, with a screen reader.

use serde_json::Value;

use super::{NOBLE, UBUNTU, collection};
use crate::support::browser::Browser;

/// Texts whose contrast with what is behind them is less than WCAG AA asks for.
const FAINT: &str = r#"
const parts = (text) => text.match(/[\d.]+/g).map(Number);
const light = (c) => { c /= 255; return c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4; };
const luminance = ([r, g, b]) => .2126 * light(r) + .7152 * light(g) + .0722 * light(b);
const behind = (it) => {
  for (; it; it = it.parentElement) {
    const color = parts(getComputedStyle(it).backgroundColor);
    if (color.length === 3 || color[3] > 0) return color;
  }
  return [255, 255, 255];
};
const faint = new Set();
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const it = walker.currentNode.parentElement, text = walker.currentNode.data.trim();
  if (!text || !it.getClientRects().length || it.closest("[aria-hidden], option")) continue;
  const [a, b] = [parts(getComputedStyle(it).color), behind(it)].map(luminance);
  const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  if (ratio < 4.5) faint.add(`${text.slice(0, 30)}: ${ratio.toFixed(2)}`);
}
return [...faint];
"#;

/// What a screen reader would stumble over.
const UNTOLD: &str = r#"
const all = (selector) => [...document.querySelectorAll(selector)];
const names = (list) => list.map((it) => it.outerHTML.slice(0, 80));
const ids = all("[id]").map((it) => it.id);
const levels = all("h1, h2, h3").map((it) => it.tagName).join(" ");
return [
  ...names(all("table").filter((it) => !it.caption)),
  ...names(all("th").filter((it) => !it.scope)),
  ...names(all("input:not([type=hidden]):not([hidden]), select").filter((it) => !it.labels.length)),
  ...names(all("img:not([alt]), svg:not([aria-hidden])")),
  ...names(all("a, button").filter((it) => !it.innerText.trim())),
  ...ids.filter((id, place) => ids.indexOf(id) !== place),
  ...(document.documentElement.lang ? [] : ["no language"]),
  ...(/^H1( H2)*$/.test(levels) ? [] : [levels]),
  ...(all("main").length === 1 && all("header nav").length === 1 ? [] : ["no landmarks"]),
];
"#;

#[tokio::test]
async fn nothing_is_wider_than_the_screen_or_too_faint_or_without_a_name() {
    let service = collection().await;
    let browser = Browser::start().await;
    for path in ["/", UBUNTU, NOBLE, "/repository?repository=nowhere", "/tag?repository=quay.io/a/b&tag=c"] {
        for (scheme, width) in [("light", 1280), ("dark", 1280), ("light", 390), ("dark", 320)] {
            let what = format!("{path} {scheme} {width}");
            browser.look(scheme, width, 844).await;
            browser.open(&format!("{}{path}", service.origin())).await;
            let overhang = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
            assert_eq!(browser.value(overhang, &[]).await, 0, "{what}");
            assert_eq!(browser.value(FAINT, &[]).await, Value::Array(vec![]), "{what}");
            assert_eq!(browser.value(UNTOLD, &[]).await, Value::Array(vec![]), "{what}");
            keep_picture(&browser, &what).await;
        }
    }
}

#[tokio::test]
async fn the_version_stays_in_sight_while_its_architectures_scroll() {
    let service = collection().await;
    let browser = Browser::start().await;
    browser.look("light", 390, 844).await;
    browser.open(&format!("{}{UBUNTU}", service.origin())).await;
    let left = "const box = document.getElementById('matrix'); box.scrollLeft = 300; \
                return document.getElementById('v-24.04').getBoundingClientRect().left - box.getBoundingClientRect().left";
    let left = browser.value(left, &[]).await.as_f64().expect("a number");
    assert!((0.0..40.0).contains(&left), "{left}");
}

/// Keeps what is to be seen where `ONETAG_SHOTS` says, for people to look at.
async fn keep_picture(browser: &Browser, name: &str) {
    if let Some(folder) = std::env::var_os("ONETAG_SHOTS") {
        let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let file = std::path::Path::new(&folder).join(format!("{name}.png"));
        std::fs::write(file, browser.screenshot().await).expect("a picture is written");
    }
}
