//! Pictures of the page, for people to look at: `ONETAG_SHOTS=<folder>` keeps them.

use super::data;
use crate::support::Service;
use crate::support::browser::Browser;
use crate::support::real::free_address;

#[tokio::test]
async fn pictures() {
    let mut service = Service::start_raw(&free_address(), super::RULES, &[]).await;
    service.fill(async |store| data::collection(store).await).await;
    let browser = Browser::start().await;
    let folder = std::path::PathBuf::from(std::env::var_os("ONETAG_SHOTS").expect("a folder"));
    let matrix = "/repository?repository=registry.example.com%2Fmultiarch%2Fubuntu";
    let tag = "/tag?repository=registry.example.com%2Fmultiarch%2Fubuntu&tag=24.04";
    for (name, path) in [("overview", "/"), ("matrix", matrix), ("tag", tag)] {
        for (look, scheme, width, height) in
            [("light", "light", 1280, 1300), ("dark", "dark", 1280, 1300), ("phone", "light", 390, 844)]
        {
            browser.look(scheme, width, height).await;
            browser.open(&format!("{}{path}", service.origin())).await;
            tokio::time::sleep(std::time::Duration::from_millis(400)).await;
            std::fs::write(folder.join(format!("{name}-{look}.png")), browser.screenshot().await).expect("written");
        }
    }
    browser.assert_calm(&service.origin()).await;
}
