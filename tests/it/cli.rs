//! The command line itself: arguments that make no sense, the terminal, and what packagers need.

use std::process::Stdio;

use crate::support::{Cli, FakeRegistry, Ran, onetag, publish};

/// The error of arguments that make no sense: exit 2, nothing on stdout, one complaint on stderr.
async fn usage_error(arguments: &[&str]) -> String {
    let fixed = ["publish", "-r", "127.0.0.1:9/ubuntu"];
    let Ran { stdout, stderr, .. } = onetag(fixed.iter().chain(arguments).copied()).run().await.expect(2);
    assert_eq!(stdout, "", "{arguments:?}");
    assert!(stderr.starts_with("error: "), "{stderr}");
    let complaint: Vec<&str> = stderr.lines().take_while(|line| !line.is_empty()).collect();
    complaint.join("\n").trim_start_matches("error: ").to_owned()
}

#[tokio::test]
async fn a_tag_must_be_given_and_be_one() {
    let longest = "v".repeat(129);
    insta::assert_snapshot!(usage_error(&[]).await, @r"
    the following required arguments were not provided:
      --tag <TAG>
    ");
    for tag in ["xenial; rm", "", &longest, "UPPER/..", "-x", ".x", "a b", "caf\u{e9}", "sha256:abc"] {
        let error = usage_error(&[&format!("--tag={tag}")]).await;
        assert!(error.contains("expected 1 to 128 letters, digits"), "{error}");
    }
    insta::assert_snapshot!(usage_error(&["--tag", "xenial; rm"]).await, @r"invalid value 'xenial; rm' for '--tag <TAG>': `xenial; rm` is not a tag name: expected 1 to 128 letters, digits, `_`, `.` and `-`, not beginning with `.` or `-`");
}

#[tokio::test]
async fn a_repository_must_be_given_and_be_one() {
    let ran = onetag(["publish", "--tag", "xenial"]).run().await.expect(2);
    assert!(ran.stderr.contains("--repository <REPOSITORY>"), "{}", ran.stderr);
    for (repository, expected) in [
        ("https://registry.example.com/acme/ubuntu", "a name without a scheme"),
        ("registry.example.com/acme/ubuntu:xenial", "tags are named by `--tag`"),
        ("registry.example.com/Acme", "lowercase letters"),
        ("registry.example.com/../x", "lowercase letters"),
    ] {
        let ran = onetag(["publish", "--tag", "xenial", "-r", repository]).run().await.expect(2);
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
    }
    let registry = FakeRegistry::with_xenial().await;
    let from_environment =
        onetag(["publish", "--tag", "xenial"]).env("ONETAG_REPOSITORY", registry.repository("ubuntu"));
    from_environment.run().await.expect(0);
}

#[tokio::test]
async fn arguments_that_contradict_each_other_or_mean_nothing_are_explained() {
    let cases: &[&[&str]] = &[
        &["-t", "a", "-t", "b", "--also", "c"],
        &["-t", "a", "--wait", "1m"],
        &["-t", "a", "--wait", "soon"],
        &["-t", "a", "--require", "arm46"],
        &["-t", "a", "--require", "x86"],
        &["-t", "a", "--arch", "linux/"],
        &["-t", "a", "--arch", "plan9/amd64"],
        &["-t", "a", "--expect", "amd64"],
        &["-t", "a", "--expect", "amd64=sha512:00"],
        &["-t", "a", "--annotation", "=x"],
        &["-t", "a", "--pattern", "{arch}{version}"],
        &["-t", "a", "--names", "fedora"],
        &["-t", "a", "--word", "x86"],
        &["-t", "a", "--word", "x86=386"],
        &["-t", "a", "--word", "a b=linux/386"],
        &["-t", "a", "--on-mismatch", "trust-tag"],
        &["-t", "a", "--on-mismatch", "rewrite", "--verify", "config"],
        &["-t", "a", "--on-unverifiable", "believe"],
        &["-t", "a", "--quiet", "--verbose"],
        &["-t", "a", "--client-key", "key.pem"],
    ];
    let mut told = String::new();
    for arguments in cases {
        told.push_str(&format!(
            "{}\n  {}\n",
            arguments[2..].join(" "),
            usage_error(arguments).await.replace('\n', "\n  ")
        ));
    }
    insta::assert_snapshot!(told, @r"
    -t b --also c
      `--also` needs exactly one `--tag`: it names further tags for the same index
    --wait 1m
      `--wait` waits for what is required: name it with `--require` or `--arch`
    --wait soon
      invalid value 'soon' for '--wait <DURATION>': expected a duration such as `90s`, `10m` or `1h`
    --require arm46
      `arm46` is not a known architecture (did you mean `arm64`?)
    --require x86
      `x86` means 386 to some builders and amd64 to others: say which by `--word x86=linux/386`, or use `i386` or `amd64`
    --arch linux/
      `linux/` is not a known architecture
    --arch plan9/amd64
      no architecture word stands for `plan9/amd64`: give one by `--word WORD=plan9/amd64`
    --expect amd64
      invalid value 'amd64' for '--expect <ARCH=DIGEST>': expected ARCH=DIGEST, for example `arm64=sha256:...`
    --expect amd64=sha512:00
      `sha512:00` is not a digest: expected `sha256:` and 64 lowercase hex digits
    --annotation =x
      invalid value '=x' for '--annotation <KEY=VALUE>': expected KEY=VALUE
    --pattern {arch}{version}
      invalid value '{arch}{version}' for '--pattern <PATTERN>': `{arch}{version}` is not a tag pattern: expected something between `{arch}` and `{version}`, so that a word ends where it should
    --names fedora
      invalid value 'fedora' for '--names <NAMES>'
        [possible values: debian, alpine, docker]
    --word x86
      invalid value 'x86' for '--word <WORD=PLATFORM>': expected WORD=PLATFORM, for example `x86=linux/386`
    --word x86=386
      invalid value 'x86=386' for '--word <WORD=PLATFORM>': `386` is not a platform: expected `os/architecture` or `os/architecture/variant`, for example `linux/arm/v7`
    --word a b=linux/386
      `a b` cannot be part of a tag: expected letters, digits, `_`, `.` and `-`
    --on-mismatch trust-tag
      a tag is believed against its image's config only where the files prove it: add `--verify entrypoint`
    --on-mismatch rewrite --verify config
      a tag is believed against its image's config only where the files prove it: add `--verify entrypoint`
    --on-unverifiable believe
      invalid value 'believe' for '--on-unverifiable <ON_UNVERIFIABLE>'
        [possible values: hold, accept, skip]
    --quiet --verbose
      the argument '--quiet' cannot be used with '--verbose...'
    --client-key key.pem
      the following required arguments were not provided:
        --client-cert <PEM>
    ");
}

#[tokio::test]
async fn settings_that_cannot_be_used_have_an_exit_code_of_their_own() {
    let fixed = ["publish", "-r", "127.0.0.1:9/ubuntu", "-t", "xenial"];
    for (more, expected) in [
        (["--ca-file", "/nowhere/ca.pem"], "/nowhere/ca.pem cannot be read"),
        (["--username", "me"], "there is no password for `me`"),
    ] {
        let ran = onetag(fixed.iter().copied().chain(more)).run().await.expect(3);
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
        assert_eq!(ran.stdout, "");
    }
}

#[tokio::test]
async fn colours_come_only_when_they_are_wanted() {
    let registry = FakeRegistry::with_xenial().await;
    registry.push_image("ubuntu:arm64-xenial", "linux/amd64");
    let repository = registry.repository("ubuntu");
    let run = || onetag(["publish", "-r", &repository, "-t", "xenial"]);
    let is_coloured = |ran: &Ran| [ran.stdout.contains('\u{1b}'), ran.stderr.contains('\u{1b}')];
    for cli in [
        run(),
        run().env("TERM", "dumb"),
        run().env("TERM", "xterm-256color").env("LANG", "C.UTF-8"),
        run().env("NO_COLOR", "1").env("CLICOLOR_FORCE", "0"),
        run().arg("--color=never").env("CLICOLOR_FORCE", "1"),
    ] {
        assert_eq!(is_coloured(&cli.run().await.expect(6)), [false, false]);
    }
    assert_eq!(is_coloured(&run().arg("--color=always").run().await.expect(6)), [true, true]);
    let json = run().arg("--color=always").arg("--output=json").run().await.expect(6);
    assert!(!json.stdout.contains('\u{1b}'), "{}", json.stdout);
}

#[tokio::test]
async fn a_terminal_without_talents_gets_plain_ascii() {
    let registry = FakeRegistry::with_xenial().await;
    let arm64 = crate::support::Image::new("linux/arm64").label("revision", "caf\u{e9}");
    registry.push("ubuntu:arm64-xenial", &arm64);
    let repository = registry.repository("ubuntu");
    let options = ["publish", "-r", &repository, "-t", "xenial", "--same", "revision"];
    let told = |ran: Ran| ran.stdout + &ran.stderr;
    for locale in ["C", "POSIX", "de_DE.ISO-8859-1", ""] {
        let plain = told(onetag(options).env("LANG", locale).run().await.expect(6));
        assert!(plain.is_ascii() && plain.contains("caf?"), "{locale}: {plain}");
        let help = told(onetag(["publish", "--help"]).env("LANG", locale).run().await.expect(0));
        assert!(help.is_ascii(), "{help}");
    }
    let full = told(onetag(options).env("LANG", "en_GB.UTF-8").run().await.expect(6));
    assert!(full.contains("caf\u{e9}"), "{full}");
}

#[tokio::test]
async fn a_terminal_gets_colours_and_a_progress_line_that_goes_away() {
    let registry = FakeRegistry::with_xenial().await;
    registry.set_delay(std::time::Duration::from_millis(150));
    let command = format!(
        "{} publish --no-cache -r {} -t xenial -t bionic",
        env!("CARGO_BIN_EXE_onetag"),
        registry.repository("ubuntu")
    );
    let on_terminal = |term: &str, no_color: bool| {
        let cli = Cli::program("script", ["-qec", &command, "/dev/null"]).env("TERM", term);
        if no_color { cli.env("NO_COLOR", "1") } else { cli }
    };
    let shown = on_terminal("xterm-256color", false).run().await.expect(6).stdout;
    assert!(shown.contains("xenial: reading the images"), "{shown:?}");
    assert!(shown.contains("\u{1b}[32mverified"), "{shown:?}");

    let shown = on_terminal("dumb", false).run().await.expect(6).stdout;
    assert!(!shown.contains('\u{1b}') && !shown.contains("reading the images"), "{shown:?}");
    let shown = on_terminal("xterm-256color", true).run().await.expect(6).stdout;
    assert!(!shown.contains("\u{1b}[32m"), "{shown:?}");
}

#[tokio::test]
async fn a_reader_who_leaves_early_is_no_error() {
    let registry = FakeRegistry::with_xenial().await;
    registry.push_image("ubuntu:arm64-xenial", "linux/arm64");
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_onetag"))
        .args(["publish", "--no-cache", "-r", &registry.repository("ubuntu"), "-t", "xenial", "-t", "bionic"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    drop(child.stdout.take());
    let ended = child.wait_with_output().await.expect("it ends");
    let stderr = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(6), "bionic has nothing to publish\n{stderr}");
    assert!(!stderr.contains("panic") && !stderr.contains("pipe"), "{stderr}");
    assert_eq!(registry.platforms("ubuntu:xenial"), ["linux/amd64", "linux/arm64"]);
}

#[tokio::test]
async fn shells_and_manuals_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = onetag(["completions", shell]).run().await.expect(0);
        assert!(script.stdout.contains("publish") && script.stdout.contains("allow-removal"), "{shell}");
        assert_eq!(script.stderr, "");
    }
    onetag(["completions", "tcsh"]).run().await.expect(2);

    let page = onetag(["man"]).run().await.expect(0).stdout;
    assert!(page.contains(".TH onetag 1") && page.contains("publish") && page.contains("Exit codes"), "{page}");
    let page = onetag(["man", "audit"]).run().await.expect(0).stdout;
    assert!(page.contains("fail\\-on") && page.contains("containerd"), "{page}");
    let page = onetag(["man", "publish"]).run().await.expect(0).stdout;
    assert!(page.contains("allow\\-removal"), "{page}");
    let ran = onetag(["man", "sell"]).run().await.expect(2);
    assert_eq!(ran.stderr, "error: `sell` is not a command of onetag\n");
}

#[tokio::test]
async fn version_and_help_are_data() {
    let version = onetag(["--version"]).run().await.expect(0);
    assert_eq!(version.stdout, concat!("onetag ", env!("CARGO_PKG_VERSION"), "\n"));
    for arguments in [vec!["--help"], vec!["publish", "--help"], vec!["help", "publish"]] {
        let help = onetag(arguments).run().await.expect(0);
        assert!(help.stdout.contains("Usage: onetag") && help.stderr.is_empty());
        assert!(help.stdout.lines().all(|line| line.chars().count() <= 100), "{}", help.stdout);
    }
    let nothing = onetag(Vec::<&str>::new()).run().await.expect(2);
    assert!(nothing.stdout.is_empty() && nothing.stderr.contains("publish"), "{}", nothing.stderr);
}

#[tokio::test]
async fn saying_more_shows_requests_and_saying_it_as_json_is_json() {
    let registry = FakeRegistry::with_xenial().await;
    let told = publish(&registry, &["-vv"]).await;
    assert!(told.ran.stderr.contains("tags/list"), "{}", told.ran.stderr);
    registry.push_image("ubuntu:arm64-xenial", "linux/arm64");
    let told = publish(&registry, &["-v", "--log-format", "json"]).await;
    assert!(!told.ran.stderr.is_empty());
    for line in told.ran.stderr.lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
    }
}
