//! RTCP packets.

use media::{
    rtcp::{ReportBlock, SenderInfo, Walk, Writer},
    rtp::RtpTime,
};
use model::Ssrc;
use proptest::prelude::*;
use rtcp::{
    goodbye::Goodbye, payload_feedbacks::picture_loss_indication::PictureLossIndication,
    receiver_report::ReceiverReport, reception_report::ReceptionReport, sender_report::SenderReport,
    source_description::SourceDescription,
};
use webrtc_util::marshal::Marshal;

fn block() -> impl Strategy<Value = ReceptionReport> {
    (any::<[u32; 5]>(), any::<u8>(), 0..0x80_0000_u32).prop_map(|(words, fraction_lost, total_lost)| ReceptionReport {
        ssrc: words[0],
        fraction_lost,
        total_lost,
        last_sequence_number: words[1],
        jitter: words[2],
        last_sender_report: words[3],
        delay: words[4],
    })
}

fn ours(block: &ReceptionReport) -> ReportBlock {
    ReportBlock {
        ssrc: Ssrc(block.ssrc),
        fraction_lost: block.fraction_lost,
        lost: block.total_lost.cast_signed(),
        highest: block.last_sequence_number,
        jitter: block.jitter,
        last_sr: block.last_sender_report,
        delay_since_last_sr: block.delay,
    }
}

proptest! {
    #[test]
    fn reports_are_the_same_bytes(
        numbers in any::<(u32, u64, u32, u32, u32)>(),
        blocks in prop::collection::vec(block(), 0..31),
        cname in "[a-z0-9]{0,40}",
    ) {
        let (ssrc, ntp_time, rtp_time, packet_count, octet_count) = numbers;
        let info = SenderInfo { ntp: ntp_time, time: RtpTime(rtp_time), packets: packet_count, octets: octet_count };
        let our_blocks: Vec<_> = blocks.iter().map(ours).collect();
        let mut buffer = [0; 2048];
        let mut writer = Writer::new(&mut buffer);
        writer.sender_report(Ssrc(ssrc), &info, &our_blocks).expect("room");
        writer.receiver_report(Ssrc(ssrc), &our_blocks).expect("room");
        writer.cname(&[Ssrc(ssrc), Ssrc(1)], &cname).expect("room");
        writer.picture_loss(Ssrc(ssrc), Ssrc(2)).expect("room");
        writer.bye(&[Ssrc(ssrc)]).expect("room");
        let length = writer.length();

        let read = rtcp::packet::unmarshal(&mut &buffer[..length]).expect("they read it");
        let [sender, receiver, description, picture_loss, goodbye] = &read[..] else { panic!("five packets") };
        let sender = sender.as_any().downcast_ref::<SenderReport>().expect("an SR");
        let expected = SenderReport {
            ssrc, ntp_time, rtp_time, packet_count, octet_count, reports: blocks.clone(), ..SenderReport::default()
        };
        prop_assert_eq!(sender, &expected);
        let receiver = receiver.as_any().downcast_ref::<ReceiverReport>().expect("an RR");
        prop_assert_eq!(receiver, &ReceiverReport { ssrc, reports: blocks, ..ReceiverReport::default() });
        let description = description.as_any().downcast_ref::<SourceDescription>().expect("an SDES");
        let names: Vec<_> = description.chunks.iter().map(|chunk| (chunk.source, &chunk.items[0].text[..])).collect();
        prop_assert_eq!(names, [(ssrc, cname.as_bytes()), (1, cname.as_bytes())]);
        let picture_loss = picture_loss.as_any().downcast_ref::<PictureLossIndication>().expect("a PLI");
        prop_assert_eq!(picture_loss, &PictureLossIndication { sender_ssrc: ssrc, media_ssrc: 2 });
        let goodbye = goodbye.as_any().downcast_ref::<Goodbye>().expect("a BYE");
        prop_assert_eq!(&goodbye.sources, &[ssrc]);

        let theirs = expected.marshal().expect("sound");
        let packet = Walk::new(&theirs).next().expect("one packet").expect("sound");
        prop_assert_eq!(packet.sender_info(), Some(info));
        prop_assert_eq!(packet.report_blocks().collect::<Vec<_>>(), our_blocks);
    }
}
