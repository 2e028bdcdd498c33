//! The agent's page in a real browser: the transcript of a real call, live, and read, not run.

use super::browser::Browser;
use super::phone::Phone;
use super::stage::Stage;
use serde_json::json;

const CONTACT: &str = "100000000010";
const HOSTILE: &str = "<script>document.title=\"owned\"</script><img src=x onerror=\"document.title='owned'\">";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chromium_shows_who_said_what_while_it_is_said() {
    let (stage, gateway) = Stage::with_gateway(&[HOSTILE, "speak to an agent"], "").await;
    let mut contact = stage.sandbox.contacts.place_contact(CONTACT);
    let mut phone = Phone::new(&gateway).await;
    let key = phone.call_as(CONTACT).await;
    phone.hears(10).await;
    gateway.history_where(&key, |history| !history["entries"].as_array().unwrap().is_empty()).await;
    let mut browser = Browser::open(&gateway.page(&key)).await;
    browser
        .shows("the greeting", "document.querySelector('#lines .assistant .text')?.textContent === 'Hi there.'")
        .await;
    let title = browser.evaluate("document.title").await;
    assert!(title.as_str().unwrap().contains("+15550100"), "{title}");
    // From here on nothing is loaded again: lines come over the page's feed.
    assert_eq!(browser.evaluate("window.loadedOnce = true").await, true);
    let spoken = json!(HOSTILE);
    phone.say();
    let caller = "[...document.querySelectorAll('#lines .caller .text')].map(line => line.textContent)";
    browser.shows("the caller's words as text", &format!("{caller}.includes({spoken})")).await;
    browser.shows("the answer", "document.getElementById('lines').textContent.includes('I see.')").await;
    assert_eq!(browser.evaluate("document.querySelectorAll('#lines script, #lines img').length").await, 0);
    assert_eq!(browser.evaluate("document.title").await, title, "the caller's words were run");
    phone.hears(5).await;
    stage.told(HOSTILE).await;
    phone.say();
    let signal = contact.signalled().await;
    assert_eq!(signal.parameter(1), Some(key.as_str()));
    phone.hang_up().await;
    browser.shows("the end", "document.getElementById('state-label').textContent === 'Transferred to an agent'").await;
    browser.shows("why", "document.getElementById('why').innerText.includes('One moment.')").await;
    browser.shows("the data", "document.getElementById('data-rows').innerText.includes('billing & more')").await;
    assert_eq!(browser.evaluate("window.loadedOnce").await, true, "the page was live, not loaded again");
    // The same again from the server, in a narrow window.
    let size = json!({"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": true});
    browser.ask("Emulation.setDeviceMetricsOverride", size).await;
    browser.ask("Page.navigate", json!({"url": gateway.page(&key)})).await;
    browser.shows("a new page", "window.loadedOnce === undefined && document.readyState === 'complete'").await;
    browser.shows("the caller's words", &format!("{caller}.includes({spoken})")).await;
    assert_eq!(browser.evaluate("document.title").await, title);
    assert_eq!(browser.evaluate("document.querySelectorAll('#lines script, #lines img').length").await, 0);
    let wide = browser.evaluate("document.documentElement.scrollWidth <= 400").await;
    assert_eq!(wide, true, "the page fits 400 px");
    let mut grounds = Vec::new();
    for (width, scheme) in [(400, "light"), (400, "dark"), (1280, "light"), (1280, "dark")] {
        let size = json!({"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": false});
        browser.ask("Emulation.setDeviceMetricsOverride", size).await;
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        browser.ask("Emulation.setEmulatedMedia", media).await;
        let fits = format!("document.documentElement.scrollWidth <= {width}");
        assert_eq!(browser.evaluate(&fits).await, true, "{width} px, {scheme}");
        let read = browser.evaluate(CONTRAST).await;
        // WCAG 2.2, success criterion 1.4.3: 4.5 to 1 for text.
        assert!(read["least"].as_f64().unwrap() >= 4.5, "{width} px, {scheme}: {read}");
        grounds.push(read["ground"].clone());
    }
    assert_eq!((&grounds[0], &grounds[1]), (&grounds[2], &grounds[3]));
    assert_ne!(grounds[0], grounds[1], "dark is not light");
    gateway.idle().await;
}

/// The least contrast of any line's text to what is behind it, and the page's ground. Colours are read from a canvas, whatever way
/// the style sheet writes them.
const CONTRAST: &str = "(() => {
    const paint = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
    const rgba = colour => {
        paint.clearRect(0, 0, 1, 1);
        paint.fillStyle = colour;
        paint.fillRect(0, 0, 1, 1);
        return [...paint.getImageData(0, 0, 1, 1).data];
    };
    const behind = element => {
        for (let e = element; e; e = e.parentElement) {
            const colour = rgba(getComputedStyle(e).backgroundColor);
            if (colour[3] === 255) return colour;
        }
        return [255, 255, 255, 255];
    };
    const light = colour => {
        const [r, g, b] = colour.slice(0, 3).map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ratios = [...document.querySelectorAll('#lines li .text')].map(e => {
        const [a, b] = [light(rgba(getComputedStyle(e).color)), light(behind(e))];
        return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    });
    return { least: ratios.length ? Math.min(...ratios) : 0, ground: behind(document.body).join() };
})()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_key_shows_nothing_of_anybody() {
    let (_stage, gateway) = Stage::with_gateway(&[], "").await;
    for key in ["AAAAAAAAAAAAAAAAAAAAAAAAAAA", "%3Cscript%3Edocument.title=%22owned%22%3C/script%3E", ""] {
        let answer = reqwest::get(gateway.page(key)).await.unwrap();
        assert_eq!(answer.status(), 404, "{key}");
        assert!(!answer.text().await.unwrap().contains("owned"));
    }
}
