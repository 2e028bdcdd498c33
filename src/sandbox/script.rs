//! The script that CXone Studio runs for a call to the assistant, as a machine: Sipputheader, Placecall, Link; Onsignal with Hangup
//! or Reqagent; Onanswer with PopURL; Onrelease with the `transferred` flag (CXone facts 1.3 and 2.4). No time, no SIP: the scripted
//! caller feeds it what happens and does what comes out.

use super::cxone::Signal;
use std::fmt;

/// What happens to the script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScriptInput {
    /// A contact came in: the script begins.
    Begin,
    /// The gateway answered the INVITE; with the session key of its 200 OK where Sipgetheader found one.
    Answered {
        /// Value of `X-Session-Key`.
        session_key: Option<String>,
    },
    /// The gateway refused the INVITE: Placecall's Error branch.
    Refused {
        /// SIP status.
        code: u16,
    },
    /// Somebody signalled the contact.
    Signalled(Signal),
    /// An agent took the call that Reqagent queued.
    AgentAnswered,
    /// The gateway's leg is gone: it sent BYE, or ours was answered.
    Released,
    /// The caller hung up.
    CallerGone,
}

/// What the script wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScriptOutput {
    /// A Studio action was run: a line for whoever watches.
    Action(Action),
    /// Sipputheader and Placecall: send the INVITE with this header.
    PlaceCall {
        /// Name and value of the header.
        header: (String, String),
    },
    /// Send BYE on the gateway's leg.
    SendBye,
    /// Reqagent: the caller waits for an agent. An agent may answer from now on.
    Queued(Cause),
    /// PopURL: the agent's screen opens this page.
    PopUrl(String),
    /// The script has ended; nothing more comes.
    Ended(Outcome),
}

/// Actions and events of CXone Studio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "Studio's own names")]
pub enum Action {
    Sipputheader,
    Placecall,
    Link,
    Onsignal,
    Reqagent,
    Onanswer,
    PopUrl,
    Onrelease,
    Signal,
    Unlink,
    AssignTransferred,
    Hangup,
    Stop,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PopUrl => f.write_str("PopURL"),
            Self::AssignTransferred => f.write_str("Assign transferred=true"),
            other => write!(f, "{other:?}"),
        }
    }
}

/// Why the caller was queued for an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The assistant asked for it: signal with a session key.
    Signal,
    /// The gateway's leg went away without a signal: something failed there.
    Released,
    /// The gateway did not take the call.
    Refused,
}

/// How the script ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An agent has the caller.
    WithAgent,
    /// Onsignal with `p1=hangup`: the contact was hung up.
    HungUp,
    /// The caller hung up first.
    CallerGone,
}

/// What the script has to know.
#[derive(Clone, Debug)]
pub struct ScriptSettings {
    /// `{ContactId}`.
    pub contact_id: String,
    /// Header for Sipputheader: `X-ContactID`.
    pub contact_id_header: String,
    /// Base of the agent's page, without trailing slash.
    pub agent_url: String,
    /// Fault `no_bye`: our BYE after a signal is never sent.
    pub withhold_bye: bool,
}

/// The script of one contact. What a script needs beyond IBM's guide is built in: `transferred` is set on every signal, because
/// our own BYE and Hangup make Studio run Onrelease too.
#[derive(Debug)]
pub struct Script {
    settings: ScriptSettings,
    state: State,
    session_key: Option<String>,
    transferred: bool,
    leg: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    New,
    Placing,
    Linked,
    /// Reqagent has run.
    Queued,
    /// An agent has the caller, the gateway's leg may still be there.
    WithAgent,
    /// Hangup has run, the leg is going.
    HangingUp,
    Ended,
}

impl Script {
    /// A script that has not begun.
    #[must_use]
    pub fn new(settings: ScriptSettings) -> Self {
        Self { settings, state: State::New, session_key: None, transferred: false, leg: false }
    }

    /// Deals with one input. What does not fit the state (a signal after the end, say) does nothing.
    pub fn step(&mut self, input: ScriptInput, out: &mut Vec<ScriptOutput>) {
        match (self.state, input) {
            (State::New, ScriptInput::Begin) => {
                self.state = State::Placing;
                let header = (self.settings.contact_id_header.clone(), self.settings.contact_id.clone());
                act(out, &[Action::Sipputheader, Action::Placecall]);
                out.push(ScriptOutput::PlaceCall { header });
            }
            (State::Placing, ScriptInput::Answered { session_key }) => {
                self.state = State::Linked;
                self.leg = true;
                self.session_key = session_key;
                act(out, &[Action::Link]);
            }
            (State::Placing, ScriptInput::Refused { .. }) => self.request_agent(Cause::Refused, out),
            // A signal may overtake the news of the 200.
            (State::Placing | State::Linked, ScriptInput::Signalled(signal)) => self.signalled(&signal, out),
            // Only one Onsignal runs at a time; a second signal interrupts it. With an agent found it changes nothing.
            (State::Queued, ScriptInput::Signalled(signal)) if !signal.is_hangup() => {
                self.keep_key(&signal);
                act(out, &[Action::Onsignal, Action::Reqagent]);
            }
            (State::Queued, ScriptInput::Signalled(signal)) => self.signalled(&signal, out),
            (State::Queued, ScriptInput::AgentAnswered) => self.agent_answered(out),
            (_, ScriptInput::Released) => self.released(out),
            (State::New | State::Ended, _) => {}
            (_, ScriptInput::CallerGone) => {
                self.bye(out);
                self.end(Outcome::CallerGone, out);
            }
            _ => {}
        }
    }

    /// Whether the script has ended.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.state == State::Ended
    }

    fn signalled(&mut self, signal: &Signal, out: &mut Vec<ScriptOutput>) {
        act(out, &[Action::Onsignal, Action::AssignTransferred]);
        self.transferred = true;
        if signal.is_hangup() {
            act(out, &[Action::Hangup]);
            self.state = State::HangingUp;
            if !self.bye(out) {
                self.end(Outcome::HungUp, out);
            }
        } else {
            self.keep_key(signal);
            self.request_agent(Cause::Signal, out);
            self.bye(out);
        }
    }

    fn keep_key(&mut self, signal: &Signal) {
        if let Some(key) = signal.parameter(1) {
            self.session_key = Some(key.to_owned());
        }
    }

    fn request_agent(&mut self, cause: Cause, out: &mut Vec<ScriptOutput>) {
        self.state = State::Queued;
        act(out, &[Action::Reqagent]);
        out.push(ScriptOutput::Queued(cause));
    }

    fn agent_answered(&mut self, out: &mut Vec<ScriptOutput>) {
        act(out, &[Action::Onanswer]);
        if let Some(key) = &self.session_key {
            let base = self.settings.agent_url.trim_end_matches('/');
            // As the script does it: {sessionKey} is pasted into the address raw.
            let url = format!("{base}/loadAgentAppFrame.html?session_history_key={key}");
            act(out, &[Action::PopUrl]);
            out.push(ScriptOutput::PopUrl(url));
        }
        self.state = State::WithAgent;
        if !self.leg {
            self.end(Outcome::WithAgent, out);
        }
    }

    fn released(&mut self, out: &mut Vec<ScriptOutput>) {
        if !std::mem::take(&mut self.leg) || self.state == State::Ended {
            return;
        }
        act(out, &[Action::Onrelease]);
        match self.state {
            State::HangingUp => {
                act(out, &[Action::Stop]);
                self.end(Outcome::HungUp, out);
            }
            State::WithAgent => {
                act(out, &[Action::Stop]);
                self.end(Outcome::WithAgent, out);
            }
            _ if self.transferred => act(out, &[Action::Stop]),
            _ => {
                // The error path of IBM's guide: the main script gets the signal and asks for an agent.
                act(out, &[Action::Signal, Action::Unlink, Action::AssignTransferred, Action::Hangup]);
                self.transferred = true;
                self.request_agent(Cause::Released, out);
            }
        }
    }

    /// Sends BYE where there is a leg to end; false when there is none.
    fn bye(&self, out: &mut Vec<ScriptOutput>) -> bool {
        if self.leg && !self.settings.withhold_bye {
            out.push(ScriptOutput::SendBye);
        }
        self.leg
    }

    fn end(&mut self, outcome: Outcome, out: &mut Vec<ScriptOutput>) {
        self.state = State::Ended;
        out.push(ScriptOutput::Ended(outcome));
    }
}

fn act(out: &mut Vec<ScriptOutput>, actions: &[Action]) {
    out.extend(actions.iter().map(|action| ScriptOutput::Action(*action)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(withhold_bye: bool) -> Script {
        let mut script = Script::new(ScriptSettings {
            contact_id: "123456789012".to_owned(),
            contact_id_header: "X-ContactID".to_owned(),
            agent_url: "http://127.0.0.1:8081/".to_owned(),
            withhold_bye,
        });
        let out = feed(&mut script, ScriptInput::Begin);
        let header = ("X-ContactID".to_owned(), "123456789012".to_owned());
        assert_eq!(out, [ScriptOutput::PlaceCall { header }]);
        script
    }

    fn linked(session_key: Option<&str>) -> Script {
        let mut script = script(false);
        let session_key = session_key.map(str::to_owned);
        assert_eq!(feed(&mut script, ScriptInput::Answered { session_key }), []);
        script
    }

    /// Without the lines for whoever watches.
    fn feed(script: &mut Script, input: ScriptInput) -> Vec<ScriptOutput> {
        let mut out = Vec::new();
        script.step(input, &mut out);
        out.retain(|output| !matches!(output, ScriptOutput::Action(_)));
        out
    }

    fn signal(p1: &str) -> ScriptInput {
        ScriptInput::Signalled(Signal::new([(1, p1.to_owned())]))
    }

    fn popped(key: &str) -> ScriptOutput {
        ScriptOutput::PopUrl(format!("http://127.0.0.1:8081/loadAgentAppFrame.html?session_history_key={key}"))
    }

    #[test]
    fn a_transfer_queues_the_caller_ends_the_leg_and_pops_the_transcript() {
        let mut script = linked(None);
        let out = feed(&mut script, signal("KEY"));
        assert_eq!(out, [ScriptOutput::Queued(Cause::Signal), ScriptOutput::SendBye]);
        assert_eq!(feed(&mut script, ScriptInput::Released), [], "Onrelease sees transferred=true and stops");
        assert_eq!(
            feed(&mut script, ScriptInput::AgentAnswered),
            [popped("KEY"), ScriptOutput::Ended(Outcome::WithAgent)]
        );
        assert!(script.ended());
        assert_eq!(feed(&mut script, signal("hangup")), []);
    }

    #[test]
    fn an_agent_may_answer_before_the_leg_is_gone() {
        let mut script = linked(None);
        feed(&mut script, signal("KEY"));
        assert_eq!(feed(&mut script, ScriptInput::AgentAnswered), [popped("KEY")]);
        assert_eq!(feed(&mut script, ScriptInput::Released), [ScriptOutput::Ended(Outcome::WithAgent)]);
    }

    #[test]
    fn hangup_ends_the_contact_and_never_queues_it() {
        let mut script = linked(None);
        assert_eq!(feed(&mut script, signal("hangup")), [ScriptOutput::SendBye]);
        assert_eq!(feed(&mut script, ScriptInput::Released), [ScriptOutput::Ended(Outcome::HungUp)]);
    }

    #[test]
    fn a_bare_bye_is_an_error_and_queues_the_caller_with_the_key_of_the_200() {
        let mut script = linked(Some("FROM200"));
        assert_eq!(feed(&mut script, ScriptInput::Released), [ScriptOutput::Queued(Cause::Released)]);
        assert_eq!(
            feed(&mut script, ScriptInput::AgentAnswered),
            [popped("FROM200"), ScriptOutput::Ended(Outcome::WithAgent)]
        );
        let mut script = linked(None);
        feed(&mut script, ScriptInput::Released);
        assert_eq!(feed(&mut script, ScriptInput::AgentAnswered), [ScriptOutput::Ended(Outcome::WithAgent)]);
    }

    #[test]
    fn a_refused_call_goes_to_an_agent_and_a_caller_who_hangs_up_ends_all() {
        let mut refused = script(false);
        assert_eq!(feed(&mut refused, ScriptInput::Refused { code: 503 }), [ScriptOutput::Queued(Cause::Refused)]);
        let mut gone = linked(None);
        let out = feed(&mut gone, ScriptInput::CallerGone);
        assert_eq!(out, [ScriptOutput::SendBye, ScriptOutput::Ended(Outcome::CallerGone)]);
        assert_eq!(feed(&mut gone, ScriptInput::Released), []);
    }

    #[test]
    fn with_the_fault_no_bye_the_gateway_has_to_end_the_leg() {
        let mut script = script(true);
        feed(&mut script, ScriptInput::Answered { session_key: None });
        assert_eq!(feed(&mut script, signal("hangup")), []);
        assert_eq!(feed(&mut script, ScriptInput::Released), [ScriptOutput::Ended(Outcome::HungUp)]);
    }

    #[test]
    fn whoever_watches_sees_the_actions_by_studios_names() {
        let mut script = linked(None);
        let mut out = Vec::new();
        script.step(ScriptInput::Released, &mut out);
        let names: Vec<String> = out
            .iter()
            .filter_map(|o| if let ScriptOutput::Action(a) = o { Some(a.to_string()) } else { None })
            .collect();
        assert_eq!(names, ["Onrelease", "Signal", "Unlink", "Assign transferred=true", "Hangup", "Reqagent"]);
    }
}
