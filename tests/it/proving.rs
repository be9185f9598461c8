//! What an image's files prove of it, from the publisher's side: real programs in real layers.

use tempfile::TempDir;

use crate::support::{
    FakeRegistry, Image, Kind, Layer, NINE, RealRegistry, Service, busybox, debian, image, onetag, publish,
    starting_busybox,
};

const ENTRYPOINT: [&str; 2] = ["--verify", "entrypoint"];

/// A registry whose `ubuntu:amd64-xenial` is right in label and files.
async fn with_amd64() -> FakeRegistry {
    let registry = FakeRegistry::start().await;
    registry.push("ubuntu:amd64-xenial", &starting_busybox("linux/amd64", "amd64"));
    registry
}

fn asking(options: &[&'static str]) -> Vec<&'static str> {
    ENTRYPOINT.iter().chain(options).copied().collect()
}

/// An image of `arm64` with these layers, which starts these arguments.
fn arm64(layers: Vec<bytes::Bytes>, start: &[&str]) -> Image {
    Image::new("linux/arm64").layers(layers).entrypoint(start)
}

#[tokio::test]
async fn nine_architectures_whose_files_are_right_are_published() {
    let registry = FakeRegistry::start().await;
    for (word, platform) in NINE {
        registry.push(&format!("ubuntu:{word}-xenial"), &starting_busybox(platform, word));
    }
    let told = publish(&registry, &ENTRYPOINT).await.expect_pushed();
    assert_eq!(told.codes("note"), Vec::<&str>::new());
    assert_eq!(told.images().iter().filter(|image| image.contains(" verified ")).count(), 9, "{:#}", told.json);
    for image in told.json["images"].as_array().expect("images") {
        assert!(image["bytes_read"].as_u64().expect("a number") > 0, "{image}");
    }
}

#[tokio::test]
async fn a_mislabelled_image_is_told_from_a_wrong_one() {
    let registry = FakeRegistry::with_mislabelled_armhf().await;
    let told = registry.expect_refusal("config-arch-mismatch", &ENTRYPOINT).await;
    assert_eq!(told.images(), ["amd64-xenial verified linux/amd64", "armhf-xenial mismatch linux/amd64"]);
    assert!(
        told.messages().contains("but the image config says linux/amd64, /bin/busybox is ELF 32-bit ARM"),
        "{}",
        told.messages()
    );
    assert!(told.messages().ends_with("the label is wrong, the files are right"), "{}", told.messages());

    let told = publish(&registry, &asking(&["--on-mismatch", "skip"])).await.expect_pushed();
    assert_eq!(registry.platforms("ubuntu:xenial"), ["linux/amd64"]);
    assert_eq!(told.codes("note"), ["config-arch-mismatch"]);
}

#[tokio::test]
async fn a_mislabelled_image_is_published_as_its_tag_says_where_its_files_prove_that() {
    let registry = FakeRegistry::with_mislabelled_armhf().await;
    let told = publish(&registry, &asking(&["--on-mismatch", "trust-tag"])).await.expect_pushed();
    assert_eq!(registry.platforms("ubuntu:xenial"), ["linux/amd64", "linux/arm/v7"]);
    assert_eq!(registry.children("ubuntu:xenial")[1], registry.digest("ubuntu:armhf-xenial").expect("it is there"));
    assert_eq!(told.codes("note"), ["config-arch-mismatch"]);

    registry.push("ubuntu:arm64-xenial", &starting_busybox("linux/amd64", "amd64"));
    let told = publish(&registry, &asking(&["--on-mismatch", "trust-tag"])).await;
    assert_eq!(told.ran.code, 6);
    assert_eq!(told.codes("hold"), ["config-arch-mismatch", "elf-mismatch"]);
    assert_eq!(registry.platforms("ubuntu:xenial"), ["linux/amd64", "linux/arm/v7"]);
}

#[tokio::test]
async fn a_tag_is_not_believed_without_a_look_at_the_files() {
    for on_mismatch in ["trust-tag", "rewrite"] {
        let ran = onetag(["publish", "-r", "127.0.0.1:9/ubuntu", "-t", "xenial", "--on-mismatch", on_mismatch]);
        let ran = ran.run().await.expect(2);
        assert!(ran.stderr.contains("only where the files prove it: add `--verify entrypoint`"), "{}", ran.stderr);
    }
}

#[tokio::test]
async fn a_right_label_on_wrong_files_is_refused() {
    let registry = with_amd64().await;
    registry.push("ubuntu:arm64-xenial", &starting_busybox("linux/arm64", "amd64"));
    let told = registry.expect_refusal("elf-mismatch", &ENTRYPOINT).await;
    assert!(told.messages().contains("/bin/busybox is ELF 64-bit"), "{}", told.messages());
    assert!(told.messages().ends_with("so the files are wrong"), "{}", told.messages());
    for on_mismatch in ["trust-tag", "rewrite"] {
        registry.expect_refusal("elf-mismatch", &asking(&["--on-mismatch", on_mismatch])).await;
    }
    publish(&registry, &[]).await.expect_pushed();
}

#[tokio::test]
async fn a_copied_program_is_found_in_a_base_that_is_right() {
    let registry = with_amd64().await;
    let base = Layer::new().file("bin/busybox", busybox("arm64")).link("bin/sh", "busybox").gzipped();
    let program = Layer::new().file("usr/local/bin/app", debian("amd64", "usr/sbin/gosu")).gzipped();
    registry.push("ubuntu:arm64-xenial", &arm64(vec![base, program], &["app", "--serve"]));
    let told = registry.expect_refusal("elf-mismatch", &ENTRYPOINT).await;
    assert!(told.messages().contains("/usr/local/bin/app is ELF 64-bit"), "{}", told.messages());
}

/// Docker writes `CMD /app/server --flag` as a script for the shell of the base.
#[tokio::test]
async fn a_copied_program_is_found_behind_the_shell_that_starts_it() {
    let registry = with_amd64().await;
    let image = |word: &str| {
        let base = Layer::new().file("bin/busybox", busybox("arm64")).link("bin/sh", "busybox").gzipped();
        let program = Layer::new().file("app/server", busybox(word)).gzipped();
        arm64(vec![base, program], &["/bin/sh", "-c", "/app/server --flag"])
    };
    registry.push("ubuntu:arm64-xenial", &image("amd64"));
    let told = registry.expect_refusal("elf-mismatch", &ENTRYPOINT).await;
    assert!(told.messages().contains("/app/server is ELF 64-bit"), "{}", told.messages());
    registry.push("ubuntu:arm64-xenial", &image("arm64"));
    publish(&registry, &ENTRYPOINT).await.expect_pushed();
}

/// M23: the loader says what the program cannot.
#[tokio::test]
async fn hard_float_files_do_not_run_where_soft_float_is_promised() {
    let registry = with_amd64().await;
    let [hard, soft] = ["armhf", "armel"]
        .map(|word| Layer::new().debian(word, "bin/dash").link("bin/sh", "dash").debian_loader(word).gzipped());
    registry.push("ubuntu:armel-xenial", &Image::new("linux/arm/v5").layers(vec![hard.clone()]));
    let told = registry.expect_refusal("elf-mismatch", &ENTRYPOINT).await;
    assert!(told.messages().contains("hard-float"), "{}", told.messages());

    registry.push("ubuntu:armel-xenial", &Image::new("linux/arm/v5").layers(vec![soft.clone()]));
    registry.push("ubuntu:armhf-xenial", &Image::new("linux/arm/v7").layers(vec![soft]));
    registry.push("ubuntu:armhf-xenial", &Image::new("linux/arm/v7").layers(vec![hard]));
    publish(&registry, &ENTRYPOINT).await.expect_pushed();
    assert_eq!(registry.platforms("ubuntu:xenial"), ["linux/amd64", "linux/arm/v7", "linux/arm/v5"]);
}

/// M19
#[tokio::test]
async fn an_image_of_data_alone_is_published_with_a_note_unless_that_holds() {
    let registry = with_amd64().await;
    let data = Layer::new().file("data/words", b"a\nb\n").gzipped();
    let image = Image::new("linux/arm64").layers(vec![data]).entrypoint(&[]);
    registry.push("ubuntu:arm64-xenial", &image);
    registry.expect_refusal("data-only", &asking(&["--on-data-only", "hold"])).await;
    let told = publish(&registry, &asking(&["--on-data-only", "skip"])).await.expect_pushed();
    assert_eq!((registry.platforms("ubuntu:xenial").len(), told.codes("note")), (1, vec!["data-only"]));
    let told = publish(&registry, &ENTRYPOINT).await.expect_pushed();
    assert_eq!((registry.platforms("ubuntu:xenial").len(), told.codes("note")), (2, vec!["data-only"]));
    assert_eq!(told.images()[1], "arm64-xenial verified linux/arm64");
}

/// M20
#[tokio::test]
async fn of_a_script_the_interpreter_decides() {
    let registry = with_amd64().await;
    let image = |word: &str| {
        let script = Layer::new().file("entry.sh", b"#!/bin/sh -e\nexec true\n").gzipped();
        let base = Layer::new().file("bin/busybox", busybox(word)).link("bin/sh", "busybox").gzipped();
        arm64(vec![base, script], &["/entry.sh"])
    };
    registry.push("ubuntu:arm64-xenial", &image("amd64"));
    registry.expect_refusal("elf-mismatch", &ENTRYPOINT).await;
    registry.push("ubuntu:arm64-xenial", &image("arm64"));
    publish(&registry, &ENTRYPOINT).await.expect_pushed();
}

/// M21
#[tokio::test]
async fn an_entry_point_that_is_in_no_layer_is_unverifiable() {
    let registry = with_amd64().await;
    registry.push("ubuntu:arm64-xenial", &starting_busybox("linux/arm64", "arm64").entrypoint(&["/app/missing"]));
    let told = registry.expect_refusal("unverifiable", &ENTRYPOINT).await;
    assert!(told.messages().contains("/app/missing"), "{}", told.messages());
    assert_eq!(told.images()[1], "arm64-xenial unverifiable linux/arm64");
    let told = publish(&registry, &asking(&["--on-unverifiable", "accept"])).await.expect_pushed();
    assert_eq!(told.images()[1], "arm64-xenial unverifiable linux/arm64");
    assert_eq!(registry.platforms("ubuntu:xenial"), ["linux/amd64", "linux/arm64"]);
}

/// M25
#[tokio::test]
async fn a_program_that_an_upper_layer_deletes_is_no_evidence() {
    let registry = with_amd64().await;
    let layers = |above: &str| {
        vec![
            Layer::new().file("bin/busybox", busybox(above)).link("bin/sh", "busybox").gzipped(),
            Layer::new().file("usr/bin/app", busybox("amd64")).gzipped(),
            Layer::new().whiteout("usr/bin/app").gzipped(),
            Layer::new().link("usr/bin/app", "/bin/busybox").gzipped(),
        ]
    };
    registry.push("ubuntu:arm64-xenial", &arm64(layers("arm64"), &["/usr/bin/app"]));
    publish(&registry, &ENTRYPOINT).await.expect_pushed();
    registry.push("ubuntu:arm64-xenial", &arm64(layers("amd64"), &["/usr/bin/app"]));
    registry.expect_refusal("elf-mismatch", &ENTRYPOINT).await;
}

#[tokio::test]
async fn files_are_read_once_and_not_at_all_where_nobody_asks() {
    let registry = with_amd64().await;
    publish(&registry, &[]).await.expect_pushed();
    let layers = || {
        let gets = registry.requests_of(Kind::Blob);
        gets.iter().filter(|request| request.method == "GET").count()
    };
    assert_eq!(layers(), 1, "the config alone");
    registry.forget_requests();
    let told = publish(&registry, &["--verify", "entrypoint", "-v"]).await;
    assert_eq!((told.ran.code, layers()), (0, 2));
    let bytes = told.json["images"][0]["bytes_read"].as_u64().expect("a number");
    assert!(
        told.ran.stderr.contains(&format!("read 1 of its layers, {bytes} bytes, and knew 0")),
        "{}",
        told.ran.stderr
    );
}

#[tokio::test]
async fn a_shared_base_is_read_once_ever() {
    let (registry, cache) = (FakeRegistry::start().await, TempDir::new().expect("a folder"));
    let base = Layer::new().debian_loader("arm64").gzipped();
    for version in ["bionic", "focal", "xenial"] {
        let top = Layer::new().debian("arm64", "bin/dash").file("etc/version", version).gzipped();
        registry.push(&format!("ubuntu:arm64-{version}"), &arm64(vec![base.clone(), top], &["/bin/dash"]));
    }
    let name = image::sha256(&base);
    let reads = || registry.requests_of(Kind::Blob).iter().filter(|request| request.path.ends_with(&name)).count();
    let repository = registry.repository("ubuntu");
    let run = async |arguments: &[&str]| {
        let fixed = ["--output", "json", "--verify", "entrypoint"];
        let run = onetag(arguments.iter().chain(&fixed).copied()).env("ONETAG_CACHE_DIR", cache.path()).run();
        run.await.expect(0).json()
    };
    let layers = |told: serde_json::Value| {
        let image = &told["images"][0];
        ["layers_read", "layers_known"].map(|key| image[key].as_u64().unwrap_or_else(|| panic!("{key}: {told:#}")))
    };
    assert_eq!(layers(run(&["publish", "-r", &repository, "-t", "bionic"]).await), [2, 0]);
    assert_eq!(layers(run(&["publish", "-r", &repository, "-t", "focal"]).await), [1, 1]);
    assert_eq!(layers(run(&["publish", "-r", &repository, "-t", "focal"]).await), [0, 0], "the image is known");
    assert_eq!(layers(run(&["verify", &format!("{repository}:arm64-xenial")]).await), [1, 1]);
    run(&["audit", "-r", &repository]).await;
    assert_eq!(reads(), 1);

    let rule = format!(
        "[[repository]]\nregistry = \"{}\"\nname = \"ubuntu\"\nverify = \"entrypoint\"\nquiet = \"0s\"\npoll = \"1s\"\n",
        registry.host()
    );
    let service = Service::start(&registry.host(), &rule).await;
    crate::support::eventually("the service publishes, too", async || registry.digest("ubuntu:xenial")).await;
    service.idle().await;
    assert_eq!(reads(), 2, "the service has a memory of its own");
}

#[tokio::test]
async fn on_a_registry_that_nobody_here_wrote_the_files_decide_as_well() {
    let registry = RealRegistry::start().await;
    let repository = registry.repository("acme/ubuntu");
    let run = async |options: &[&str]| {
        let fixed = ["publish", "-r", &repository, "--tag", "xenial", "--output", "json", "--verify", "entrypoint"];
        onetag(fixed.iter().chain(options).copied()).run().await
    };
    for (word, platform) in NINE {
        registry.push(&format!("acme/ubuntu:{word}-xenial"), &starting_busybox(platform, word)).await;
    }
    run(&[]).await.expect(0);
    for ((word, platform), (_, next)) in NINE.iter().zip(NINE.iter().cycle().skip(1)) {
        let tag = format!("acme/ubuntu:{word}-xenial");
        let other = NINE.iter().find(|(_, platform)| platform == next).expect("one of nine").0;
        registry.push(&tag, &starting_busybox(platform, other)).await;
        let told = run(&["--arch", word]).await.expect(6).json();
        assert_eq!(told["reasons"][0]["code"], "elf-mismatch", "{other} under {word}: {told:#}");
        registry.push(&tag, &starting_busybox(platform, word)).await;
    }
}

#[tokio::test]
async fn the_service_holds_wrong_files_and_publishes_when_they_are_right() {
    let registry = with_amd64().await;
    registry.push("ubuntu:arm64-xenial", &starting_busybox("linux/arm64", "amd64"));
    let rule = format!(
        "[[repository]]\nregistry = \"{}\"\nname = \"ubuntu\"\nverify = \"entrypoint\"\non_data_only = \"hold\"\n\
         quiet = \"0s\"\npoll = \"1s\"\n",
        registry.host()
    );
    let service = Service::start(&registry.host(), &rule).await;
    let reason = service.trouble_of("held").await;
    assert!(reason.contains("the files are wrong"), "{reason}");
    assert_eq!(registry.digest("ubuntu:xenial"), None);

    let right = registry.push("ubuntu:arm64-xenial", &starting_busybox("linux/arm64", "arm64"));
    service.tell("ubuntu", "arm64-xenial", &right).await;
    crate::support::eventually("it is published", async || registry.digest("ubuntu:xenial")).await;
    assert_eq!(registry.platforms("ubuntu:xenial"), ["linux/amd64", "linux/arm64"]);
}
