//! Session keys from master keys (RFC 3711 §4.3, RFC 6188 §3, RFC 7714 §11), with a key derivation rate of zero.

use zeroize::Zeroizing;

use super::{MasterKey, counter::Keystream};

/// What a derived key is for (RFC 3711 §4.3.1, §4.3.2).
#[derive(Clone, Copy, Debug)]
pub(super) enum Label {
    RtpEncryption = 0,
    RtpAuthentication = 1,
    RtpSalt = 2,
    RtcpEncryption = 3,
    RtcpAuthentication = 4,
    RtcpSalt = 5,
}

/// Derives `N` bytes of key. A salt of twelve bytes counts as fourteen, with zeros at its end (RFC 7714 §11).
pub(super) fn derive<const N: usize>(master: &MasterKey, label: Label) -> Zeroizing<[u8; N]> {
    let mut block = Zeroizing::new([0; 16]);
    for (byte, salt) in block.iter_mut().zip(master.salt.iter()) {
        *byte = *salt;
    }
    block[7] ^= label as u8;
    let mut key = Zeroizing::new([0; N]);
    Keystream::new(&master.key).apply(*block, key.as_mut_slice());
    key
}

#[cfg(test)]
mod tests {
    use model::SrtpSuite;

    use super::*;
    use crate::vectors::unhex;

    fn master(suite: SrtpSuite, key: &str, salt: &str) -> MasterKey {
        MasterKey::new(suite, &unhex(key), &unhex(salt)).expect("lengths of the suite")
    }

    #[test]
    fn keys_are_those_of_rfc_3711_b_3() {
        let master =
            master(SrtpSuite::AesCm128Sha1_80, "E1F97A0D3E018BE0D64FA32C06DE4139", "0EC675AD498AFEEBB6960B3AABE6");
        assert_eq!(derive::<16>(&master, Label::RtpEncryption).to_vec(), unhex("C61E7A93744F39EE10734AFE3FF7A087"));
        assert_eq!(derive::<14>(&master, Label::RtpSalt).to_vec(), unhex("30CBBC08863D8C85D49DB34A9AE1"));
        assert_eq!(
            derive::<94>(&master, Label::RtpAuthentication).to_vec(),
            unhex(concat!(
                "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCEE049646C43D9327AD175578EF7227098",
                "6371C10C9A369AC2F94A8C5FBCDDDC256D6E919A48B610EF17C2041E474035766B68642C59BBFC2F34DB60DBDFB2"
            ))
        );
        assert_eq!(derive::<16>(&master, Label::RtcpEncryption).to_vec(), unhex("4c1aa45a81f73d61c800bbb00fbb1eaa"));
        assert_eq!(
            derive::<20>(&master, Label::RtcpAuthentication).to_vec(),
            unhex("8d54534feb49ae8e7993a6bd0b844fc323a93dfd")
        );
        assert_eq!(derive::<14>(&master, Label::RtcpSalt).to_vec(), unhex("9581c7ad87b3e530bf3e4454a8b3"));
    }

    #[test]
    fn keys_of_256_bits_are_those_of_rfc_6188_7_2() {
        let master = master(
            SrtpSuite::Aes256CmSha1_80,
            "f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6",
            "3b04803de51ee7c96423ab5b78d2",
        );
        assert_eq!(
            derive::<32>(&master, Label::RtpEncryption).to_vec(),
            unhex("5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4")
        );
        assert_eq!(
            derive::<20>(&master, Label::RtpAuthentication).to_vec(),
            unhex("fd9c32d39ed5fbb5a9dc96b30818454d1313dc05")
        );
        assert_eq!(derive::<14>(&master, Label::RtpSalt).to_vec(), unhex("fa31791685ca444a9e07c6c64e93"));
    }

    #[test]
    fn keys_of_192_bits_are_those_of_rfc_6188_7_4() {
        let master = master(
            SrtpSuite::Aes192CmSha1_80,
            "73edc66c4fa15776fb57f9505c17136550ffda71f3e8e5f1",
            "c8522f3acd4ce86d5add78edbb11",
        );
        assert_eq!(
            derive::<24>(&master, Label::RtpEncryption).to_vec(),
            unhex("31874736a8f1143870c26e4857d8a5b2c4a354407faadabb")
        );
        assert_eq!(
            derive::<20>(&master, Label::RtpAuthentication).to_vec(),
            unhex("355b10973cd95b9eacf4061c7e1a7151e7cfbfcb")
        );
        assert_eq!(derive::<14>(&master, Label::RtpSalt).to_vec(), unhex("2372b82d639b6d8503a47adc0a6c"));
    }

    #[test]
    fn a_salt_of_twelve_bytes_is_padded_at_its_end() {
        let key: Vec<u8> = (0..16).collect();
        let salt: Vec<u8> = (0xa0..0xac).collect();
        let master = MasterKey::new(SrtpSuite::AeadAes128Gcm, &key, &salt).expect("lengths of the suite");
        assert_eq!(derive::<16>(&master, Label::RtpEncryption).to_vec(), unhex("077c6143cb221bc355ff23d5f984a16e"));
        assert_eq!(derive::<12>(&master, Label::RtpSalt).to_vec(), unhex("9af3e95364ebac9c99c5a7c4"));
        assert_eq!(derive::<16>(&master, Label::RtcpEncryption).to_vec(), unhex("615dcd9042600666f6fd4d9e4fe4519f"));
        assert_eq!(derive::<12>(&master, Label::RtcpSalt).to_vec(), unhex("fcca937b9112a500dac72269"));
    }
}
