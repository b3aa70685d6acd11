//! Calls by clients of every habit, through trunks with every protection, and the ways in which a call is not answered.

use load::jingle::{self, Profile};
use load::phone;
use model::Security;
use xmpp::jingle::ReasonCondition;

use crate::scene::Scene;

const ALLOW_PLAIN: &str = "[call]\nallow_plain_jingle = true";

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_every_habit_call_the_phone_and_are_called() {
    for profile in [Profile::DINO, Profile::MONAL, Profile::STANZA_JS, Profile::GAJIM] {
        there_and_back(Scene::set_up_with(profile, Security::Rtp, ALLOW_PLAIN).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trunk_may_ask_for_sdes_or_dtls() {
    for security in [Security::Sdes, Security::Dtls] {
        there_and_back(Scene::set_up(security, "").await).await;
    }
}

/// A call in each direction.
async fn there_and_back(mut scene: Scene) {
    scene.alice_calls_and_is_answered().await;
    scene.both_hear_each_other().await;
    scene.alice.hang_up();
    scene.phone_sees("BYE", |event| *event == phone::Event::Ended).await;

    scene.alice_announces_herself().await;
    scene.phone_calls().await;
    scene.alice.answer().expect("it rings");
    scene.phone_sees("answer", |event| *event == phone::Event::Answered).await;
    scene.both_hear_each_other().await;
    scene.phone.hang_up().expect("there is a call");
    let success = jingle::Event::Ended(ReasonCondition::Success);
    scene.alice_sees("session-terminate", |event| *event == success).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_reaches_the_caller_as_what_it_is() {
    for profile in [Profile::CONVERSATIONS, Profile::STANZA_JS] {
        let mut scene = Scene::set_up_with(profile, Security::Rtp, "").await;
        for (status, condition) in
            [(486, ReasonCondition::Busy), (603, ReasonCondition::Decline), (404, ReasonCondition::Gone)]
        {
            scene.alice_calls().await;
            scene.phone.reject(status).expect("it rings");
            scene.alice_sees("refusal", |event| *event == jingle::Event::Ended(condition)).await;
        }
        scene.alice_announces_herself().await;
        scene.phone_calls().await;
        scene.alice.hang_up();
        scene.phone_sees("refusal", |event| *event == phone::Event::Failed(486)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_may_give_up_while_it_rings() {
    for profile in [Profile::CONVERSATIONS, Profile::STANZA_JS] {
        let mut scene = Scene::set_up_with(profile, Security::Rtp, "").await;
        scene.alice_calls().await;
        scene.alice.hang_up();
        scene.phone_sees("CANCEL", |event| *event == phone::Event::Ended).await;

        scene.alice_announces_herself().await;
        scene.phone_calls().await;
        scene.phone.hang_up().expect("there is a call");
        let cancel = jingle::Event::Ended(ReasonCondition::Cancel);
        scene.alice_sees("retraction", |event| *event == cancel).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callee_who_is_not_there_is_reported() {
    let mut scene = Scene::set_up(Security::Rtp, "").await;
    scene.phone.call(&format!("sip:nobody@{}", scene.sip)).expect("it has no call");
    scene.phone_sees("failure", |event| *event == phone::Event::Failed(480)).await;
    scene.alice.call("no.number@sip.localhost".parse().expect("a JID")).expect("she has no call");
    scene.alice_sees("failure", |event| matches!(event, jingle::Event::Ended(_))).await;
}
