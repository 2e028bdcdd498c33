//! The page and its JSON, and what is said where there is none.

use crate::shelf::{Shelf, body, conversation, line, router};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use tower::ServiceExt;
use voice_gateway::base::SessionKey;
use voice_gateway::call::output::Who;
use voice_gateway::web::HistoryUnavailable;

#[tokio::test]
async fn the_page_tells_who_said_what_and_why_the_call_came_over() {
    let shelf = Shelf::with(conversation());
    let response = shelf.request(&shelf.page()).await;
    assert_eq!(response.status(), StatusCode::OK);
    let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["referrer-policy"], "no-referrer");
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    let page = body(response).await;
    for part in [
        "+1 859 555 3456",
        "483920175523",
        "Ok, I&#39;m transferring you.",
        "<th scope=\"row\">p2</th><td dir=\"auto\">billing</td>",
        "Transferred to an agent",
        "<li class=\"caller\" data-seq=\"2\"><p class=\"meta\"><span class=\"who\">Caller</span><time datetime=\"2026-01-01T00:00:07.000Z\" title=\"00:00:07 UTC\">0:05</time>",
        "<span class=\"length\" id=\"length\" aria-label=\"Length of the call\">0:58</span>",
    ] {
        assert!(page.contains(part), "{part} is not in\n{page}");
    }
    assert!(
        policy.contains("default-src 'none'") && policy.ends_with("frame-ancestors 'self' https://*.niceincontact.com"),
        "{policy}"
    );
    let nonce = policy.split("script-src 'nonce-").nth(1).unwrap().split('\'').next().unwrap().to_owned();
    assert_eq!(nonce.len(), 22);
    assert_eq!(page.matches("<script").count(), page.matches(&format!("<script nonce=\"{nonce}\">")).count());
    assert_eq!(page.matches("<style").count(), page.matches(&format!("<style nonce=\"{nonce}\">")).count());
    for forbidden in ["http://", "https://", " onclick", " onload", "style=\"", "innerHTML"] {
        assert!(
            !page.replace("http://www.w3.org/2000/svg", "").replace("http:%", "").contains(forbidden),
            "{forbidden}"
        );
    }
    let again = shelf.request(&shelf.page()).await;
    assert_ne!(again.headers()["content-security-policy"].to_str().unwrap(), policy, "the nonce is used once");
}

#[tokio::test]
async fn whatever_a_caller_says_is_read_and_not_run() {
    let hostile = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{ 7 * 7 }}</style>";
    let mut said = conversation();
    said.lines.push(line(3, 9, Who::Caller, hostile));
    said.why = Some(hostile.to_owned());
    said.caller_number = Some(hostile.to_owned());
    said.called_number = hostile.to_owned();
    said.call_id = hostile.to_owned();
    said.contact_id = Some(hostile.to_owned());
    said.custom_data = vec![(hostile.to_owned(), hostile.to_owned())];
    let shelf = Shelf::with(said);
    let page = body(shelf.request(&shelf.page()).await).await;
    assert!(!page.contains("<script>alert") && !page.contains("<img"), "{page}");
    assert_eq!(page.matches("</script>").count(), 1);
    assert_eq!(page.matches("</style>").count(), 1);
    assert!(page.contains("&#60;script&#62;alert(1)"), "{page}");
    assert!(page.contains("{{ 7 * 7 }}"));
    let json: serde_json::Value = serde_json::from_str(&body(shelf.request(&shelf.json()).await).await).unwrap();
    assert_eq!(json["entries"][3]["text"], hostile);
}

#[tokio::test]
async fn unknown_expired_and_malformed_keys_are_all_alike() {
    let shelf = Shelf::with(conversation());
    let unknown = SessionKey::from_random([9; 20]).as_str().to_owned();
    let long = "a".repeat(65);
    let keys = [
        unknown.as_str(),
        "",
        "hangup",
        "short",
        &long,
        "%00",
        "%FF%FE%FF",
        "..%2F..%2Fetc",
        "%3Cscript%3E",
        "aaaaaaaaaaaaaaaaaaaaaaaa%20a",
    ];
    let mut pages = Vec::new();
    let addressed = keys.iter().map(|key| format!("/loadAgentAppFrame.html?session_history_key={key}"));
    for path in addressed.chain(["/loadAgentAppFrame.html".to_owned(), "/nowhere".to_owned()]) {
        let response = shelf.request(&path).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        let policy = response.headers()["content-security-policy"].to_str().unwrap();
        let nonce = policy.split("script-src 'nonce-").nth(1).unwrap().split('\'').next().unwrap().to_owned();
        pages.push(body(response).await.replace(&nonce, ""));
    }
    assert!(pages.iter().all(|page| *page == pages[0]));
    assert!(pages[0].contains("This conversation is not available"));
    let mut answers = Vec::new();
    for key in keys {
        for path in [format!("/v1/history/{key}"), format!("/v1/history/{key}/events")] {
            let response = shelf.request(&path).await;
            assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
            answers.push(body(response).await);
        }
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(*shelf.asked.lock(), 3, "only well-formed keys reach the store");
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_told_as_such() {
    let shelf = Shelf::with(conversation());
    *shelf.conversation.lock() = Err(HistoryUnavailable);
    for path in [shelf.page(), shelf.json(), shelf.events("")] {
        assert_eq!(shelf.request(&path).await.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
    }
    let post = Request::post(shelf.json()).body(Body::empty()).unwrap();
    assert_eq!(router(&shelf).oneshot(post).await.unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn the_json_says_the_same_as_the_page() {
    let shelf = Shelf::with(conversation());
    let response = shelf.request(&shelf.json()).await;
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let json: serde_json::Value = serde_json::from_str(&body(response).await).unwrap();
    assert_eq!(json["state"], "ended");
    assert_eq!(json["end_reason"], "assistant_transfer");
    assert_eq!(json["milliseconds_elapsed"], 58_000);
    assert_eq!(json["answered"], "2026-01-01T00:00:02.000Z");
    assert_eq!(json["custom_data"][0], serde_json::json!({"key": "p2", "value": "billing"}));
    assert_eq!(
        json["entries"][1],
        serde_json::json!({"seq": 2, "at": "2026-01-01T00:00:07.000Z", "offset": "0:05", "who": "caller", "text": "my bill is wrong"})
    );
}
