//! One Speech to Text session as a machine on given time (Watson facts 2.2): messages in, messages out, no socket and no engine.

use super::limit::SessionLimit;
use super::results;
use super::start::{Command, Start};
use crate::sandbox::engine::{Heard, RecognitionOptions};
use axum::body::Bytes;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// What happens to a session.
#[derive(Debug)]
pub(super) enum Input {
    /// The instant the last step asked for has come.
    Tick,
    /// A text message of the client.
    Text(String),
    /// A binary message of the client; empty is `stop`.
    Audio(Bytes),
    /// The recogniser tells.
    Heard(Heard),
    /// The recogniser has told all after `Output::Finish`.
    Finished,
}

/// What a session wants done.
#[derive(Debug, PartialEq)]
pub(super) enum Output {
    /// A JSON message to the client.
    Send(Value),
    /// Open the recogniser for a new stream.
    Open(RecognitionOptions),
    /// To the recogniser.
    Audio(Bytes),
    /// End of the recogniser's stream.
    Finish,
    /// A final transcript was sent.
    Transcribed(String),
    /// Close the socket with this code and reason; nothing more comes.
    Close(u16, &'static str),
}

/// One session on one model.
#[derive(Debug)]
pub(super) struct Session {
    model: String,
    limit: SessionLimit,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Before the first `start`, and after a `stop` has been dealt with.
    Idle,
    Listening(Box<Stream>),
    /// After `stop`, until the recogniser has told all.
    Finishing(Box<Stream>),
    Closed,
}

#[derive(Debug)]
struct Stream {
    start: Start,
    bytes: usize,
    result_index: u64,
    /// Finals kept back until `stop` when no interim results were asked for.
    kept: Vec<Value>,
    /// Audio since speech was last heard.
    silent: Duration,
    speaking: bool,
}

impl Session {
    /// A session whose socket opened at `now`; `window` is 30 s in the real service.
    pub(super) fn new(model: String, window: Duration, now: Instant) -> Self {
        Self { model, limit: SessionLimit::new(window, now), state: State::Idle }
    }

    /// Whether the next message of the client may be read: not while results after a `stop` are outstanding.
    pub(super) fn reads(&self) -> bool {
        !matches!(self.state, State::Finishing(_))
    }

    /// Deals with one input and says when to call again with `Input::Tick`; `None` once closed.
    #[must_use]
    pub(super) fn step(&mut self, now: Instant, input: Input, out: &mut Vec<Output>) -> Option<Instant> {
        if matches!(self.state, State::Closed) {
            return None;
        }
        if now >= self.limit.deadline() {
            let nothing = "Session timed out, no data received in the last 30 seconds.";
            self.fail(if self.limit.nothing() { nothing } else { "Session timed out." }, out);
            return None;
        }
        match input {
            Input::Tick => {}
            Input::Text(text) => match Command::parse(&text, &self.model) {
                Ok(Command::Start(start)) => self.start(*start, now, out),
                Ok(Command::Stop) => self.stop(out),
                Err(error) => self.fail(&error, out),
            },
            Input::Audio(bytes) if bytes.is_empty() => self.stop(out),
            Input::Audio(bytes) => self.audio(bytes, now, out),
            Input::Heard(heard) => self.heard(heard, out),
            Input::Finished => self.finished(now, out),
        }
        (!matches!(self.state, State::Closed)).then(|| self.limit.deadline())
    }

    fn start(&mut self, start: Start, now: Instant, out: &mut Vec<Output>) {
        if !matches!(self.state, State::Idle) {
            return self.fail("a session is already started: send {\"action\":\"stop\"} first", out);
        }
        self.limit.restart(now);
        out.push(Output::Open(start.options.clone()));
        if !start.unknown.is_empty() {
            let names = start.unknown.join(", ");
            out.push(Output::Send(json!({"warnings": [format!("Unknown arguments: {names}.")]})));
        }
        out.push(Output::Send(json!({"state": "listening"})));
        let silent = Duration::ZERO;
        let stream = Stream { start, bytes: 0, result_index: 0, kept: Vec::new(), silent, speaking: false };
        self.state = State::Listening(Box::new(stream));
    }

    fn stop(&mut self, out: &mut Vec<Output>) {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Listening(stream) if (1..LEAST_BYTES).contains(&stream.bytes) => {
                let error = format!("Stream was {} bytes but needs to be at least {LEAST_BYTES} bytes.", stream.bytes);
                self.fail(&error, out);
            }
            State::Listening(stream) => {
                out.push(Output::Finish);
                self.state = State::Finishing(stream);
            }
            other => {
                out.push(Output::Send(json!({"state": "listening"})));
                self.state = other;
            }
        }
    }

    fn audio(&mut self, bytes: Bytes, now: Instant, out: &mut Vec<Output>) {
        let State::Listening(stream) = &mut self.state else {
            return self.fail("audio before a start message: send {\"action\":\"start\"} first", out);
        };
        let length = stream.start.options.format.duration(bytes.len());
        stream.bytes = stream.bytes.saturating_add(bytes.len());
        if !stream.speaking {
            stream.silent += length;
        }
        self.limit.audio(now, length);
        if stream.bytes > MOST_BYTES {
            return self.fail("Stream exceeds the limit of 100 MB.", out);
        }
        match stream.start.inactivity {
            Some(most) if stream.silent > most => {
                let error = format!("No speech detected for {}s.", most.as_secs());
                self.fail(&error, out);
            }
            _ => out.push(Output::Audio(bytes)),
        }
    }

    fn heard(&mut self, heard: Heard, out: &mut Vec<Output>) {
        let (stream, ending) = match &mut self.state {
            State::Listening(stream) => (stream, "silence"),
            State::Finishing(stream) => (stream, "end_of_data"),
            State::Idle | State::Closed => return,
        };
        stream.silent = Duration::ZERO;
        stream.speaking = !matches!(heard, Heard::Final { .. });
        let index = stream.result_index;
        match heard {
            Heard::Began { at } if stream.start.speech_begin_event => {
                out.push(Output::Send(results::began(index, at)));
            }
            Heard::Interim { transcript } if stream.start.options.interim_results && !transcript.is_empty() => {
                out.push(Output::Send(results::message(index, &[results::interim_result(&transcript)])));
            }
            Heard::Final { transcript, confidence, begin, end } if !transcript.trim().is_empty() => {
                // Told before it goes out: whoever watches sees it before what comes of it.
                out.push(Output::Transcribed(transcript.trim().to_owned()));
                let result = results::final_result(&stream.start, &transcript, confidence, (begin, end), ending);
                stream.result_index += 1;
                if stream.start.options.interim_results {
                    out.push(Output::Send(results::message(index, &[result])));
                } else {
                    stream.kept.push(result);
                }
            }
            Heard::Began { .. } | Heard::Interim { .. } | Heard::Final { .. } => {}
        }
    }

    fn finished(&mut self, now: Instant, out: &mut Vec<Output>) {
        let State::Finishing(stream) = std::mem::replace(&mut self.state, State::Idle) else {
            // The recogniser ended by itself: an engine that died.
            return self.fail("The recognition engine failed.", out);
        };
        if !stream.kept.is_empty() {
            out.push(Output::Send(results::message(0, &stream.kept)));
        }
        out.push(Output::Send(json!({"state": "listening"})));
        self.limit.restart(now);
    }

    fn fail(&mut self, error: &str, out: &mut Vec<Output>) {
        out.push(Output::Send(json!({"error": error})));
        out.push(Output::Close(1011, SEE_ABOVE));
        self.state = State::Closed;
    }
}

/// The reason that goes with 1011.
pub(super) const SEE_ABOVE: &str = "see the previous message for the error details.";
const LEAST_BYTES: usize = 100;
const MOST_BYTES: usize = 100 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(30);

    struct Client {
        session: Session,
        now: Instant,
        next: Option<Instant>,
    }

    impl Client {
        fn new() -> Self {
            let now = crate::base::clock::now().at;
            Self { session: Session::new("en-US_Telephony".to_owned(), WINDOW, now), now, next: None }
        }

        fn input(&mut self, input: Input) -> Vec<Output> {
            let mut out = Vec::new();
            self.next = self.session.step(self.now, input, &mut out);
            out
        }

        fn started(more: &Value) -> Self {
            let mut client = Self::new();
            let mut start = json!({"action":"start","content-type":"audio/mulaw;rate=8000","interim_results":true});
            start.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let out = client.input(Input::Text(start.to_string()));
            assert!(matches!(out.first(), Some(Output::Open(_))), "{out:?}");
            assert_eq!(out.last(), Some(&Output::Send(json!({"state":"listening"}))));
            client
        }

        fn audio(&mut self, bytes: usize) -> Vec<Output> {
            self.input(Input::Audio(vec![0xff; bytes].into()))
        }

        fn heard(&mut self, heard: Heard) -> Vec<Output> {
            self.input(Input::Heard(heard))
        }
    }

    fn sent(out: &[Output]) -> Vec<Value> {
        out.iter()
            .filter_map(|output| if let Output::Send(json) = output { Some(json.clone()) } else { None })
            .collect()
    }

    fn fails_with(out: &[Output], words: &str) {
        assert_eq!(sent(out).len(), 1, "{out:?}");
        let error = sent(out)[0]["error"].as_str().unwrap().to_owned();
        assert!(error.contains(words), "{error}");
        assert_eq!(out.last(), Some(&Output::Close(1011, SEE_ABOVE)));
    }

    fn interim(text: &str) -> Heard {
        Heard::Interim { transcript: text.to_owned() }
    }

    fn final_(text: &str) -> Heard {
        let (begin, end) = (Duration::from_secs(1), Duration::from_millis(2_500));
        Heard::Final { transcript: text.to_owned(), confidence: 0.913, begin, end }
    }

    #[test]
    fn results_have_the_documented_form_and_an_index_per_utterance() {
        let mut client = Client::started(&json!({"speech_begin_event": true}));
        let begin = client.heard(Heard::Began { at: Duration::from_millis(2_500) });
        assert_eq!(sent(&begin), [json!({"results":[{"speech_begin_event":{"begin":2.5}}],"result_index":0})]);
        assert_eq!(
            sent(&client.heard(interim("name the"))),
            [json!({"result_index":0,"results":[{"final":false,"alternatives":[{"transcript":"name the "}]}]})]
        );
        let out = client.heard(final_("name the mayflower"));
        assert_eq!(
            sent(&out),
            [json!({"result_index":0,"results":[{"final":true,
                "alternatives":[{"transcript":"name the mayflower ","confidence":0.91}]}]})]
        );
        assert_eq!(out.first(), Some(&Output::Transcribed("name the mayflower".to_owned())));
        assert_eq!(sent(&client.heard(interim("again")))[0]["result_index"], 1);
        assert_eq!(client.heard(final_(" ")), [], "noise is not a result");
    }

    #[test]
    fn without_interim_results_all_finals_come_after_stop() {
        let mut client = Client::started(&json!({"interim_results": false, "split_transcript_at_phrase_end": true}));
        client.audio(8_000);
        assert_eq!(client.heard(interim("one")), []);
        assert_eq!(sent(&client.heard(final_("one"))), [] as [Value; 0]);
        assert_eq!(client.input(Input::Text(r#"{"action":"stop"}"#.to_owned())), [Output::Finish]);
        assert!(!client.session.reads());
        client.heard(final_("two"));
        let messages = sent(&client.input(Input::Finished));
        assert_eq!(messages.len(), 2);
        assert_eq!(messages[0]["results"].as_array().unwrap().len(), 2);
        assert_eq!(messages[0]["results"][0]["end_of_utterance"], "silence");
        assert_eq!(messages[0]["results"][1]["end_of_utterance"], "end_of_data");
        assert_eq!(messages[1], json!({"state":"listening"}));
        assert!(client.session.reads());
    }

    #[test]
    fn words_carry_their_times_when_asked_for() {
        let mut client = Client::started(&json!({"timestamps": true}));
        let messages = sent(&client.heard(final_("ab cdef")));
        assert_eq!(
            messages[0]["results"][0]["alternatives"][0]["timestamps"],
            json!([["ab", 1.0, 1.5], ["cdef", 1.5, 2.5]])
        );
    }

    #[test]
    fn an_empty_frame_stops_and_a_new_start_may_follow() {
        let mut client = Client::started(&json!({}));
        client.audio(160);
        assert_eq!(client.input(Input::Audio(Bytes::new())), [Output::Finish]);
        assert_eq!(sent(&client.input(Input::Finished)), [json!({"state":"listening"})]);
        let again = json!({"action":"start","content-type":"audio/alaw;rate=8000","foo":1,"bar":2}).to_string();
        let messages = sent(&client.input(Input::Text(again)));
        assert_eq!(messages, [json!({"warnings":["Unknown arguments: bar, foo."]}), json!({"state":"listening"})]);
    }

    #[test]
    fn wrong_order_and_wrong_messages_end_in_an_error_and_1011() {
        fails_with(&Client::new().audio(160), "start");
        fails_with(&Client::new().input(Input::Text("hello".to_owned())), "JSON");
        let start = json!({"action":"start","content-type":"audio/mulaw;rate=8000"}).to_string();
        fails_with(&Client::started(&json!({})).input(Input::Text(start)), "already");
        let mut short = Client::started(&json!({}));
        short.audio(34);
        let out = short.input(Input::Audio(Bytes::new()));
        fails_with(&out, "Stream was 34 bytes but needs to be at least 100 bytes.");
        fails_with(&Client::started(&json!({})).input(Input::Finished), "engine");
    }

    #[test]
    fn half_real_time_is_asked_for_in_every_thirty_seconds() {
        let mut client = Client::started(&json!({"inactivity_timeout": -1}));
        let frame = Duration::from_millis(100);
        for _ in 0..600 {
            client.now += frame;
            assert_eq!(client.audio(800).len(), 1);
        }
        // Paused: nothing comes any more.
        client.now = client.next.unwrap() - Duration::from_millis(1);
        assert_eq!(client.input(Input::Tick), []);
        client.now = client.next.unwrap();
        fails_with(&client.input(Input::Tick), "Session timed out.");
        assert_eq!(client.next, None);
        assert_eq!(client.audio(160), [], "nothing after the end");
    }

    #[test]
    fn a_socket_on_which_nothing_comes_is_ended_after_thirty_seconds() {
        let mut client = Client::started(&json!({}));
        assert_eq!(client.next, Some(client.now + WINDOW));
        client.now += WINDOW;
        fails_with(&client.input(Input::Tick), "no data received in the last 30 seconds.");
    }

    #[test]
    fn audio_without_speech_ends_the_session_unless_told_otherwise() {
        let mut client = Client::started(&json!({"inactivity_timeout": 5}));
        assert_eq!(client.audio(40_000).len(), 1);
        client.heard(interim("hello"));
        assert_eq!(client.audio(80_000).len(), 1, "while someone speaks nothing is counted");
        client.heard(final_("hello"));
        assert_eq!(client.audio(40_000).len(), 1);
        fails_with(&client.audio(160), "No speech detected for 5s.");
    }
}
