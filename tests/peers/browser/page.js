// A Jingle client in a browser: stanza.js for the signalling, the browser's own ICE, DTLS, SRTP and codecs for the media.
//
// The test gives commands ({ id, command, … }) and reads reports: { id, ok } or { id, error } answers a command, and
// { event, … } tells what happened by itself. With `jmi`, calls are proposed first (XEP-0353), which stanza.js cannot.

import { createClient } from 'stanza';
import { addAlias, attribute, childAttribute } from 'stanza/jxt';

import { hear, listenTo, toneOf } from './audio.js';
import { addCamera, answerCamera, cameraOf, see, takeAnswer } from './video.js';

const JINGLE = 'urn:xmpp:jingle:1';
const RTP = 'urn:xmpp:jingle:apps:rtp:1';
const JMI = 'urn:xmpp:jingle-message:0';

let client;
let jmi = false;
let session; // the Jingle session of the call, once there is one
let proposal; // { peer, sid } of a call that is only proposed

const commands = {
    login({ jid, password, websocket, withJmi }) {
        jmi = withJmi;
        client = createClient({
            jid,
            password,
            transports: { websocket },
            autoReconnect: false,
            allowResumption: false,
            jingle: { iceServers: [] },
        });
        if (jmi) {
            teachProposals();
        }
        watch();
        return new Promise((resolve, reject) => {
            client.on('auth:failed', () => reject(new Error('the server refuses the password')));
            client.on('session:started', () => {
                client.updateCaps();
                client.sendPresence({ legacyCapabilities: client.disco.getCaps() });
                resolve(client.jid);
            });
            client.connect();
        });
    },

    async call({ to, frequency, video }) {
        if (!jmi) {
            await start(to, crypto.randomUUID(), frequency, video);
            return;
        }
        proposal = { peer: to, sid: crypto.randomUUID(), frequency };
        propose('propose', { media: 'audio' });
    },

    async accept({ frequency, video }) {
        if (proposal) {
            proposal.frequency = frequency;
            propose('proceed');
            return;
        }
        await answer(frequency, video);
    },

    // Turns the camera on in a call without one.
    addVideo() {
        return addCamera(session);
    },

    see() {
        return see(session);
    },

    // What ICE calls its end of the call, and takes another name for: as after a change of network.
    async restartIce() {
        await session.restartIce();
    },

    hold() {
        return session.hold();
    },

    resume() {
        return session.resume();
    },

    decline() {
        if (proposal) {
            propose('reject', { reason: { condition: 'busy' } });
            proposal = undefined;
        } else {
            session.decline();
        }
    },

    // Ends the call: one that is up, or one that nobody has answered yet.
    hangUp({ reason }) {
        if (proposal) {
            propose('retract', { reason: { condition: reason } });
            proposal = undefined;
        } else {
            session.end(reason);
        }
    },

    press({ digits }) {
        const sender = session.pc.getSenders().find(sender => sender.dtmf);
        sender.dtmf.insertDTMF(digits, 200, 100);
    },

    hear({ frequency }) {
        return hear(frequency);
    },

    async security() {
        const report = await session.pc.getStats();
        const transport = [...report.values()].find(entry => entry.type === 'transport');
        return { dtls: transport.dtlsState, srtp: transport.srtpCipher, tls: transport.tlsVersion };
    },

    send({ xml }) {
        client.transport.socket.send(xml);
    },
};

// XEP-0353 for stanza.js: the messages it can read and write, and the feature it announces.
function teachProposals() {
    const actions = ['propose', 'ringing', 'proceed', 'reject', 'retract', 'finish'];
    client.stanzas.define(
        actions.map(action => ({
            element: action,
            namespace: JMI,
            path: 'message.proposal',
            type: action,
            typeField: 'action',
            fields: { id: attribute('id'), media: childAttribute(RTP, 'description', 'media') },
        })),
    );
    client.stanzas.define(addAlias(JINGLE, 'reason', ['message.proposal.reason']));
    client.disco.addFeature(JMI);
}

function propose(action, content = {}) {
    const { peer, sid } = proposal;
    client.sendMessage({ to: peer, type: 'chat', proposal: { action, id: sid, ...content } });
}

function watch() {
    client.on('raw', (direction, xml) => report({ raw: direction, xml }));
    client.on('disconnected', () => report({ event: 'disconnected' }));
    client.on('jingle:incoming', async incoming => {
        session = incoming;
        watchContents();
        if (proposal?.sid === incoming.sid) {
            const { frequency } = proposal;
            proposal = undefined;
            await answer(frequency);
        } else {
            session.ring();
            report({ event: 'incoming', from: incoming.peerID });
        }
    });
    for (const event of ['ringing', 'accepted', 'hold', 'resumed']) {
        client.on(`jingle:${event}`, () => report({ event }));
    }
    client.on('jingle:terminated', (_, reason) => report({ event: 'terminated', reason: reason?.condition }));
    client.jingle.on('peerTrackAdded', (_, track) => track.kind === 'audio' && listenTo(track));
    client.jingle.on('connectionState', (_, state) => report({ event: 'connection', state }));
    client.jingle.on('log:error', (...words) => report({ event: 'error', text: words.map(String).join(' ') }));
    client.on('message', message => message.proposal && proposed(message.from, message.proposal));
}

async function proposed(peer, { action, id, reason }) {
    report({ event: action, reason: reason?.condition });
    if (action === 'propose') {
        proposal = { peer, sid: id };
        propose('ringing');
        report({ event: 'incoming', from: peer });
    } else if (action === 'proceed') {
        const { sid, frequency } = proposal;
        proposal = undefined;
        await start(peer, sid, frequency);
    } else if (action !== 'ringing') {
        proposal = undefined;
    }
}

async function start(to, sid, frequency, video) {
    session = client.jingle.createMediaSession(to, sid, voiceAndPicture(frequency, video));
    watchContents();
    await session.start();
}

// Contents that are added to the session, which stanza.js cannot.
function watchContents() {
    const answered = (event, take) => async (changes, done) => {
        try {
            await take(session, changes);
            done();
            report({ event });
        } catch (error) {
            report({ event: 'error', text: String(error?.stack ?? error) });
            done({ condition: 'general-error' });
        }
    };
    session.onContentAccept = answered('content-accept', takeAnswer);
    session.onContentAdd = answered('content-add', answerCamera);
    session.onContentReject = answered('content-reject', () => undefined);
    session.onContentModify = answered('content-modify', () => undefined);
}

function voiceAndPicture(frequency, video) {
    const tracks = toneOf(frequency).getTracks();
    return new MediaStream(video ? [...tracks, cameraOf()] : tracks);
}

async function answer(frequency, video) {
    const stream = voiceAndPicture(frequency, video);
    for (const track of stream.getTracks()) {
        await session.addTrack(track, stream);
    }
    await session.accept();
}

function report(content) {
    return fetch('/report', { method: 'POST', body: JSON.stringify(content) });
}

async function obey({ id, command, ...input }) {
    try {
        report({ id, ok: (await commands[command](input)) ?? null });
    } catch (error) {
        report({ id, error: String(error?.stack ?? error) });
    }
}

addEventListener('error', event => report({ event: 'error', text: event.message }));
addEventListener('unhandledrejection', event => report({ event: 'error', text: String(event.reason) }));
for (;;) {
    const response = await fetch('/command');
    if (!response.ok) {
        break;
    }
    obey(await response.json());
}
