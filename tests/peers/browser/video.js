// A moving picture as a camera, an eye on the one that arrives, and cameras that are turned on during a call (content-add).

import { exportToSDP, importFromSDP } from 'stanza/jingle';
import { convertIntermediateToRequest, convertRequestToIntermediate } from 'stanza/jingle/sdp/Protocol';

export function cameraOf() {
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [320, 240];
    const pen = canvas.getContext('2d');
    let picture = 0;
    setInterval(() => {
        pen.fillStyle = `hsl(${(picture += 7) % 360} 80% 50%)`;
        pen.fillRect(0, 0, canvas.width, canvas.height);
    }, 100);
    return canvas.captureStream(10).getVideoTracks()[0];
}

// Waits until pictures have been decoded for a while.
export async function see(session) {
    let first;
    let decoded;
    for (let attempt = 0; attempt < 100; attempt++) {
        await new Promise(resolve => setTimeout(resolve, 200));
        const report = [...(await session.pc.getStats()).values()];
        const stream = report.find(entry => entry.type === 'inbound-rtp' && entry.kind === 'video');
        decoded = stream?.framesDecoded ?? 0;
        first ??= decoded || undefined;
        if (first !== undefined && decoded >= first + 10) {
            return { width: stream.frameWidth, height: stream.frameHeight };
        }
    }
    throw new Error(`no pictures: ${decoded} decoded`);
}

export async function addCamera(session) {
    const camera = cameraOf();
    session.pc.addTrack(camera, new MediaStream([camera]));
    const offer = await session.pc.createOffer();
    await session.pc.setLocalDescription(offer);
    session.send('content-add', pictures(session, offer.sdp, session.role));
}

// Takes the other side's answer to our content-add.
export async function takeAnswer(session, changes) {
    await session.pc.setRemoteDescription({ type: 'answer', sdp: withContents(session, changes, 'answer') });
}

// Takes the other side's content-add, and accepts it with a camera of our own.
export async function answerCamera(session, changes) {
    await session.pc.setRemoteDescription({ type: 'offer', sdp: withContents(session, changes, 'offer') });
    const camera = cameraOf();
    session.pc.addTrack(camera, new MediaStream([camera]));
    const answer = await session.pc.createAnswer();
    await session.pc.setLocalDescription(answer);
    // After the answer to the content-add itself.
    setTimeout(() => session.send('content-accept', pictures(session, answer.sdp, session.peerRole)));
}

// The pictures' part of a description, as Jingle has it.
function pictures(session, sdp, creator) {
    const description = importFromSDP(sdp);
    description.media = description.media.filter(media => media.kind === 'video');
    const request = convertIntermediateToRequest(description, session.role, session.transportType);
    for (const content of request.contents) {
        content.creator = creator;
    }
    return { ...request, sid: session.sid };
}

// What the other side has described so far, and describes now.
function withContents(session, changes, type) {
    const description = importFromSDP(session.pc.remoteDescription.sdp);
    const added = convertRequestToIntermediate(changes, session.peerRole);
    for (const media of [...description.media, ...added.media]) {
        media.streams ??= [{ stream: 'legacy', track: media.kind }];
        if (type === 'answer' && media.setup === 'actpass') {
            media.setup = 'passive'; // we have answered as the active one
        } else if (type === 'offer') {
            media.setup = 'actpass';
        }
    }
    description.media.push(...added.media);
    if (added.groups?.length) {
        description.groups = added.groups;
    }
    return exportToSDP(description);
}
