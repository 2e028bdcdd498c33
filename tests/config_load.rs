//! Loading: the environment over the file, secrets from files, all problems at once, tenants.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use secrecy::ExposeSecret;
use std::time::Duration;
use voice_gateway::config::{Codec, Config, CxoneAuth, PortRange, Problems, Transport};

#[test]
fn the_environment_overrides_every_kind_of_key() {
    let config = load(
        "[sip]\nmax_calls = 7\nlisten = [\"udp:127.0.0.1:5060\"]\n[cxone]\naccess_key_secret_file = \"/nowhere\"",
        &[
            ("SIP__MAX_CALLS", "12"),
            ("SIP__LISTEN", "udp:127.0.0.1:5070, tcp:[::1]:5070"),
            ("SIP__RINGING", "false"),
            ("SIP__ALLOW_FROM", "203.0.113.0/24,198.51.100.7"),
            ("SIP__PUBLIC_ADDRESS", ""),
            ("SIP__REQUIRED_HEADER__NAME", "X-Secret"),
            ("SIP__REQUIRED_HEADER__VALUE", "s3cret"),
            ("MEDIA__PORT_RANGE", "30000-30009"),
            ("MEDIA__CODECS", "pcma,PCMU"),
            ("MEDIA__JITTER_BUFFER__MAX", "120ms"),
            ("DIALOG__CONFIDENCE_THRESHOLD", "0.25"),
            ("CXONE__ACCESS_KEY_SECRET", "from the environment"),
            ("SPEECH_TO_TEXT__RECOGNIZE__LOW_LATENCY", "true"),
            ("SPEECH_TO_TEXT__RECOGNIZE__SPEECH_DETECTOR_SENSITIVITY", "0.4"),
            ("SPEECH_TO_TEXT__RECOGNIZE__GRAMMAR_NAME", "names"),
            ("ASSISTANT__VERSION", "2025-01-01"),
        ],
    )
    .unwrap();
    assert_eq!(config.sip.max_calls, 12);
    assert_eq!(config.sip.listen.len(), 2);
    assert_eq!(config.sip.listen[1].transport, Transport::Tcp);
    assert!(!config.sip.ringing);
    assert_eq!(config.sip.allow_from[1].to_string(), "198.51.100.7/32");
    assert_eq!(config.sip.public_address, None);
    assert_eq!(config.sip.required_header.unwrap().value.expose_secret(), "s3cret");
    assert_eq!(config.media.port_range, PortRange { first: 30_000, last: 30_009 });
    assert_eq!(config.media.codecs, [Codec::Pcma, Codec::Pcmu]);
    assert_eq!(config.media.jitter_buffer.max, Duration::from_millis(120));
    assert_eq!(config.dialog.confidence_threshold.to_string(), "0.25");
    assert_eq!(config.cxone.access_key_secret.unwrap().expose_secret(), "from the environment");
    assert_eq!(
        serde_json::Value::Object(config.speech_to_text.recognize),
        serde_json::json!({"low_latency": true, "speech_detector_sensitivity": 0.4, "grammar_name": "names"})
    );
    assert_eq!(config.assistant.version, "2025-01-01");
}

#[test]
fn all_problems_are_told_at_once_each_with_its_path_and_what_would_be_right() {
    let problems = load(
        r#"
        [sip]
        listne = ["udp:0.0.0.0:5060"]
        listen = ["sctp:0.0.0.0:5060", "udp:localhost"]
        allow_from = ["10.0.0.0/33"]
        contact_id_pattern = "("
        missing_contact_id = "maybe"
        max_calls = "many"
        session_expires = "60s"
        [media]
        port_range = [20001, 20000]
        codecs = ["G729"]
        rtp_timeout = 30
        worker_cores = [2, 3, 2]
        [speech_to_text]
        url = "ftp://example.com"
        [speech_to_text.recognize]
        interim_results = false
        [assistant]
        url = "http://assistant.example.com"
        version = "yesterday"
        environment_id = "a/../b"
        [history]
        store = "mysql:x"
        [admin]
        listen = "0.0.0.0:8080"
        [dialog]
        confidence_threshold = 1.5
        [unknown]
        key = 1
        "#,
        &[("MEDIA__WORKERS", "lots"), ("LOG__LEVEL", "inof"), ("NONSENSE", "1")],
    )
    .unwrap_err();
    for (path, part) in [
        ("sip.listne", "did you mean listen?"),
        ("sip.listen", "element 1: must look like \"udp:0.0.0.0:5060\""),
        ("sip.listen", "element 2: must look like"),
        ("sip.allow_from", "must be a network such as"),
        ("sip.contact_id_pattern", "regular expression"),
        ("sip.missing_contact_id", "\"reject\", \"accept\""),
        ("sip.max_calls", "must be a whole number"),
        ("sip.session_expires", "must be from \"90s\""),
        ("media.port_range", "from an even port"),
        ("media.codecs", "\"PCMU\", \"PCMA\", \"G722\", \"OPUS\", not \"G729\""),
        ("media.rtp_timeout", "duration with its unit"),
        ("media.worker_cores", "names core 2 twice"),
        ("media.workers", "not \"lots\" (set by VOICE_GATEWAY__MEDIA__WORKERS)"),
        ("speech_to_text.url", "must be an https: URL, not ftp:"),
        ("speech_to_text.recognize", "must not hold interim_results"),
        ("assistant.url", "assistant.example.com is not loopback"),
        ("assistant.version", "must be a date"),
        ("assistant.environment_id", "must be an id"),
        ("history.store", "sqlite:FILE"),
        ("admin.token", "missing: admin.listen 0.0.0.0:8080 is reachable"),
        ("dialog.confidence_threshold", "must be from 0 to 1, not 1.5"),
        ("log.level", "must be \"error\""),
        ("unknown", "unknown key; the keys here are sip,"),
        ("nonsense", "(set by VOICE_GATEWAY__NONSENSE)"),
    ] {
        let told = problems.iter().any(|problem| problem.path == path && problem.message.contains(part));
        assert!(told, "{path}: {part} is not among\n{problems}");
    }
    assert_eq!(problems.to_string().lines().count(), problems.iter().count());
    assert_eq!(problems.iter().count(), 24, "{problems}");
}

#[test]
fn what_a_later_version_brings_is_refused_when_demanded_and_noted_when_it_is_the_default() {
    for (text, path) in [
        ("[history]\nstore = \"postgres://u:p@db/history\"", "history.store"),
        ("[webhook]\nurl = \"https://example.com\"", "webhook.url"),
    ] {
        let problems = load(text, &[]).unwrap_err();
        let told: Vec<_> = problems.iter().map(|problem| (problem.path.as_str(), &problem.message[..17])).collect();
        assert_eq!(told, [(path, "not available yet")], "{text}");
    }
    let notices = Config::default().notices();
    assert!(notices.iter().any(|notice| notice.path == "sip.allow_from"), "{notices:?}");
    let quiet = load("[sip]\nallow_from = [\"203.0.113.0/24\"]\n[media]\nsrtp = \"off\"\ncodecs = [\"PCMU\"]", &[]);
    assert_eq!(quiet.unwrap().notices(), []);
}

#[test]
fn required_srtp_needs_a_way_for_its_keys() {
    let alone = load("[media]\nsrtp = \"required\"", &[]).unwrap_err().to_string();
    assert!(alone.starts_with("media.srtp") && alone.contains("srtp_without_tls"), "{alone}");
    let without_tls = load("[media]\nsrtp = \"required\"\nsrtp_without_tls = true", &[]).unwrap();
    assert!(without_tls.notices().iter().any(|notice| notice.path == "media.srtp_without_tls"));
}

#[test]
fn a_tls_socket_needs_certificate_and_key_and_they_need_each_other() {
    let told = |text: &str| match load(text, &[]) {
        Ok(config) => {
            config.notices().iter().map(|notice| notice.path.clone()).filter(|path| path == "sip.tls").collect()
        }
        Err(problems) => problems.iter().map(|problem| problem.path.clone()).collect::<Vec<_>>(),
    };
    let tls = "[sip]\nlisten = [\"tls:0.0.0.0:5061\"]\n[sip.tls]\n";
    let (certificate, key) = ("certificate_file = \"a\"\n", "private_key_file = \"b\"\n");
    assert_eq!(told(tls), ["sip.tls.certificate_file", "sip.tls.private_key_file"]);
    assert_eq!(told(&format!("{tls}{key}")), ["sip.tls.certificate_file"]);
    assert_eq!(told(&format!("[sip.tls]\n{certificate}")), ["sip.tls.private_key_file"]);
    assert_eq!(told(&format!("[sip.tls]\n{certificate}{key}")), ["sip.tls"], "a note: nothing listens");
    assert!(told(&format!("{tls}{certificate}{key}")).is_empty());
}

#[test]
fn secrets_come_from_files_and_never_out_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "  hunter2\n").unwrap();
    let config = load(&format!("[assistant]\napi_key_file = {file:?}"), &[("ADMIN__TOKEN", "t0ken")]).unwrap();
    assert_eq!(config.assistant.api_key.as_ref().unwrap().expose_secret(), "hunter2");
    let (shown, debugged) = (config.to_redacted_toml(), format!("{config:?}"));
    assert!(shown.contains("api_key = \"***\"") && shown.contains("token = \"***\""), "{shown}");
    for text in [shown, debugged] {
        assert!(!text.contains("hunter2") && !text.contains("t0ken"), "{text}");
    }

    let both = load(&format!("[assistant]\napi_key = \"hunter3\"\napi_key_file = {file:?}"), &[]).unwrap_err();
    assert!(both.to_string().contains("assistant.api_key: given together with api_key_file"), "{both}");
    assert!(!both.to_string().contains("hunter3"));
    let gone = load("[assistant]\napi_key_file = \"/nowhere/key\"", &[]).unwrap_err();
    assert!(gone.to_string().contains("assistant.api_key_file: /nowhere/key cannot be read"), "{gone}");
    std::fs::write(&file, "\n").unwrap();
    let empty = load(&format!("[assistant]\napi_key_file = {file:?}"), &[]).unwrap_err();
    assert!(empty.to_string().contains("is empty"), "{empty}");
    let wrong = load("[assistant]\napi_key = 4711", &[]).unwrap_err();
    assert!(!wrong.to_string().contains("4711"), "{wrong}");
}

#[test]
fn broken_toml_is_told_with_its_line_but_not_its_text() {
    let problems = load("[assistant]\napi_key = \"hunter2\nurl = 1\n", &[]).unwrap_err().to_string();
    assert!(problems.contains("line 2: not TOML"), "{problems}");
    assert!(!problems.contains("hunter2"), "{problems}");
    let missing = Config::load(Some("/nowhere/x.toml".as_ref()), std::iter::empty()).unwrap_err().to_string();
    assert!(missing.contains("/nowhere/x.toml: cannot be read"), "{missing}");
    assert_eq!(missing.lines().count(), 1);
}

#[test]
fn what_serve_needs_is_told_whole_and_loopback_watson_needs_no_credentials() {
    let problems = load_complete("", &[]).unwrap_err();
    let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
    let needed = [
        "speech_to_text.url",
        "text_to_speech.url",
        "assistant.url",
        "assistant.environment_id",
        "cxone.access_key_id",
        "cxone.access_key_secret",
    ];
    assert_eq!(paths, needed);

    let remote = "[speech_to_text]\nurl = \"wss://stt.example.com/instances/1\"\n[text_to_speech]\nurl = \"https://tts.example.com\"\nbearer_token = \"t\"\n[assistant]\nurl = \"https://wa.example.com\"\nenvironment_id = \"e\"\napi_key_file = \"/nowhere\"\n[cxone]\naccess_key_id = \"k\"\naccess_key_secret = \"s\"\nauth = \"oauth_password\"";
    let problems = load_complete(remote, &[]).unwrap_err();
    let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, ["assistant.api_key_file", "speech_to_text.api_key", "cxone.client_id", "cxone.client_secret"]);

    let local = "[speech_to_text]\nurl = \"ws://127.0.0.1:1/stt\"\n[text_to_speech]\nurl = \"http://localhost:1\"\n[assistant]\nurl = \"http://[::1]:1\"\nenvironment_id = \"e\"\n[cxone]\napi_url = \"http://127.0.0.1:2\"\n";
    let problems = load_complete(local, &[]).unwrap_err();
    let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, ["cxone.access_key_id", "cxone.access_key_secret"], "a token is asked for wherever the API is");
    let local = format!("{local}access_key_id = \"k\"\naccess_key_secret = \"s\"");
    let config = load_complete(&local, &[]).unwrap();
    assert_eq!(config.speech_to_text.url.as_ref().unwrap().as_str(), "http://127.0.0.1:1/stt");
    assert!(config.require_complete().is_ok());
}

#[test]
fn the_token_endpoint_follows_the_way_of_authentication() {
    let config = load("[cxone]\nauth = \"oauth_password\"", &[]).unwrap();
    assert_eq!(config.cxone.auth, CxoneAuth::OauthPassword);
    assert_eq!(config.cxone.token_url.as_str(), "https://cxone.niceincontact.com/auth/token");
    let own = load("[cxone]\nauth = \"oauth_password\"\ntoken_url = \"https://t.example.com/token\"", &[]).unwrap();
    assert_eq!(own.cxone.token_url.as_str(), "https://t.example.com/token");
}

#[test]
fn plain_http_off_loopback_needs_to_be_allowed() {
    let text = "[assistant]\nurl = \"http://10.0.0.7:9000\"";
    assert!(load(text, &[]).unwrap_err().to_string().starts_with("assistant.url: must be https:"));
    assert!(load(text, &[("ASSISTANT__ALLOW_INSECURE", "true")]).is_ok());
    let impostor = load("[assistant]\nurl = \"http://localhost.example.com\"", &[]);
    assert!(impostor.is_err());
}

#[test]
fn tenants_override_the_top_level_and_unknown_numbers_have_none() {
    let text = r#"
        [assistant]
        url = "https://wa.example.com"
        environment_id = "top"
        api_key = "top key"
        [speech_to_text.recognize]
        low_latency = true
        [[tenants]]
        name = "red"
        numbers = ["+1 888 234 6789"]
        [tenants.assistant]
        environment_id = "red"
        bearer_token = "red token"
        [tenants.speech_to_text.recognize]
        speech_detector_sensitivity = 0.4
        [[tenants]]
        name = "blue"
        numbers = ["bot", "+4930123456"]
        [tenants.dialog]
        barge_in = false
    "#;
    let config = load(text, &[("TENANTS__1__ASSISTANT__ENVIRONMENT_ID", "blue")]).unwrap();
    let red = config.for_number("8882346789").unwrap();
    assert_eq!((red.name, red.assistant.environment_id.as_deref()), ("red", Some("red")));
    assert!(red.assistant.api_key.is_none(), "the tenant's own credential stands in for the top level's");
    assert_eq!(red.assistant.bearer_token.as_ref().unwrap().expose_secret(), "red token");
    assert_eq!(red.assistant.url, config.assistant.url);
    assert_eq!(red.speech_to_text.recognize.len(), 2);
    assert!(red.dialog.barge_in);
    let blue = config.for_number("bot").unwrap();
    assert_eq!((blue.name, blue.assistant.environment_id.as_deref()), ("blue", Some("blue")));
    assert_eq!(blue.assistant.api_key.as_ref().unwrap().expose_secret(), "top key");
    assert!(!blue.dialog.barge_in);
    assert_eq!(config.for_number("0049 30 123456").unwrap().name, "blue");
    assert!(config.for_number("+15550001111").is_none());
    assert_eq!(config.tenant_configs().len(), 2);
    assert_eq!(Config::default().for_number("anything").unwrap().name, "default");
}

#[test]
fn problems_of_tenants_are_told_where_they_are_and_inherited_ones_once() {
    let text = r#"
        [assistant]
        url = "http://wa.example.com"
        timeout = "0s"
        [[tenants]]
        name = "red"
        numbers = ["+18882346789"]
        color = "red"
        [tenants.assistant]
        version = "never"
        [[tenants]]
        name = "red"
        numbers = ["888-234-6789", "not a number"]
    "#;
    let problems = load(text, &[]).unwrap_err();
    let mut paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
    paths.sort_unstable();
    let expected = [
        "assistant.timeout",
        "assistant.url",
        "tenants[0].assistant.version",
        "tenants[0].color",
        "tenants[1].name",
        "tenants[1].numbers",
        "tenants[1].numbers",
    ];
    assert_eq!(paths, expected, "{problems}");

    let incomplete = load_complete(
        "[[tenants]]\nname = \"a\"\nnumbers = [\"1\"]\n[tenants.assistant]\nurl = \"http://localhost:1\"\n[[tenants]]\nname = \"b\"\nnumbers = [\"2\"]",
        &[],
    );
    let problems = incomplete.unwrap_err().to_string();
    assert!(problems.contains("tenants[1].assistant.url: missing"), "{problems}");
    assert_eq!(problems.matches("speech_to_text.url: missing").count(), 1, "{problems}");
}

#[test]
fn the_printed_configuration_reads_back_the_same() {
    let config = load("[sip]\nmax_calls = 3\n[[tenants]]\nname = \"a\"\nnumbers = [\"1\"]\n[tenants.speech_to_text.recognize]\nx = [1, \"two\", { three = 3.5 }]", &[]).unwrap();
    let printed = config.to_redacted_toml();
    assert_eq!(load(&printed, &[]).unwrap().to_redacted_toml(), printed);
}

fn load(text: &str, env: &[(&str, &str)]) -> Result<Config, Problems> {
    let file = file_of(text);
    Config::load(Some(file.path()), variables(env))
}

fn load_complete(text: &str, env: &[(&str, &str)]) -> Result<Config, Problems> {
    let file = file_of(text);
    Config::load_complete(Some(file.path()), variables(env))
}

fn variables(env: &[(&str, &str)]) -> std::vec::IntoIter<(String, String)> {
    let named: Vec<_> = env.iter().map(|(key, value)| (format!("VOICE_GATEWAY__{key}"), (*value).to_owned())).collect();
    named.into_iter()
}

fn file_of(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}
