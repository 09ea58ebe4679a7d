//! Public keys of passkeys (COSE_Key: RFC 9052 7, RFC 9053 2 and 7, RFC 8230 4) and the signatures that they check.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use ciborium::Value;

/// The algorithms that are asked for, best first: ES256, EdDSA with Ed25519, RS256 (Windows Hello with an older TPM).
pub const ALGORITHMS: [i32; 3] = [-7, -8, -257];

/// Deepest nesting that is read: what authenticators send is flat.
const DEEPEST: usize = 8;

/// A public key of one of [`ALGORITHMS`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// An uncompressed point of P-256 (SEC 1 2.3.3).
    Es256(Vec<u8>),
    /// 32 bytes.
    Ed25519(Vec<u8>),
    /// Modulus and exponent, big-endian.
    Rs256 {
        /// 2048 to 4096 bits.
        n: Vec<u8>,
        /// At most 64 bits.
        e: Vec<u8>,
    },
}

impl PublicKey {
    /// Reads a whole COSE_Key; nothing when it is none of ours, or no point or modulus that can be used.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let key = read(&mut rest)?;
        if !rest.is_empty() {
            return None;
        }
        let number = |label| integer(member(&key, label)?);
        let bytes = |label| member(&key, label)?.as_bytes();
        match (number(1)?, number(3)?) {
            (2, -7) if number(-1)? == 1 => {
                let (x, y) = (bytes(-2)?, bytes(-3)?);
                let point = [&[4], x.as_slice(), y.as_slice()].concat();
                let right = x.len() == 32 && y.len() == 32;
                (right && ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &point).is_ok())
                    .then_some(Self::Es256(point))
            }
            (1, -8) if number(-1)? == 6 => {
                let x = bytes(-2)?;
                ParsedPublicKey::new(&ED25519, x).is_ok().then(|| Self::Ed25519(x.clone()))
            }
            (3, -257) => {
                let (n, e) = (bytes(-1)?, bytes(-2)?);
                let right = (256..=512).contains(&n.len()) && (1..=8).contains(&e.len());
                // A leading zero hides how long the modulus is.
                (right && n[0] != 0 && e[0] != 0).then(|| Self::Rs256 { n: n.clone(), e: e.clone() })
            }
            _ => None,
        }
    }

    /// Whether the signature is this key's over the message.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Es256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(message, signature).is_ok()
            }
            Self::Ed25519(x) => UnparsedPublicKey::new(&ED25519, x).verify(message, signature).is_ok(),
            Self::Rs256 { n, e } => RsaPublicKeyComponents { n, e }
                .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
                .is_ok(),
        }
    }
}

/// Reads one CBOR value from the front of the bytes.
pub fn read(bytes: &mut &[u8]) -> Option<Value> {
    ciborium::de::from_reader_with_recursion_limit(bytes, DEEPEST).ok()
}

// The value under an integer label; nothing when the map has it twice.
fn member(map: &Value, label: i128) -> Option<&Value> {
    let mut found = map.as_map()?.iter().filter(|(key, _)| integer(key) == Some(label));
    let (_, value) = found.next()?;
    found.next().is_none().then_some(value)
}

fn integer(value: &Value) -> Option<i128> {
    value.as_integer().map(i128::from)
}

#[cfg(test)]
pub(crate) mod tests {
    use aws_lc_rs::{
        rand::SystemRandom,
        rsa::KeySize,
        signature::{
            ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
            RsaKeyPair,
        },
    };
    use proptest::prelude::*;

    use super::*;

    /// A COSE_Key of these labels.
    pub(crate) fn cose(members: &[(i64, Value)]) -> Vec<u8> {
        let map = members.iter().map(|(label, value)| (Value::from(*label), value.clone())).collect();
        let mut bytes = Vec::new();
        ciborium::into_writer(&Value::Map(map), &mut bytes).unwrap();
        bytes
    }

    /// The COSE_Key of a P-256 point.
    pub(crate) fn es256(point: &[u8]) -> Vec<u8> {
        cose(&[
            (1, 2.into()),
            (3, (-7).into()),
            (-1, 1.into()),
            (-2, point[1..33].to_vec().into()),
            (-3, point[33..].to_vec().into()),
        ])
    }

    #[test]
    fn each_algorithm_checks_its_own_signatures_only() {
        let random = SystemRandom::new();
        let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let ed = Ed25519KeyPair::generate().unwrap();
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let mut by_rsa = vec![0; rsa.public_modulus_len()];
        rsa.sign(&RSA_PKCS1_SHA256, &random, b"message", &mut by_rsa).unwrap();
        let n = rsa.public_key().modulus().big_endian_without_leading_zero().to_vec();
        let e = rsa.public_key().exponent().big_endian_without_leading_zero().to_vec();
        let pairs = [
            (es256(ec.public_key().as_ref()), ec.sign(&random, b"message").unwrap().as_ref().to_vec()),
            (
                cose(&[
                    (1, 1.into()),
                    (3, (-8).into()),
                    (-1, 6.into()),
                    (-2, ed.public_key().as_ref().to_vec().into()),
                ]),
                ed.sign(b"message").as_ref().to_vec(),
            ),
            (cose(&[(1, 3.into()), (3, (-257).into()), (-1, n.into()), (-2, e.into())]), by_rsa),
        ];
        for (own, (key, signature)) in pairs.iter().enumerate() {
            let key = PublicKey::parse(key).unwrap();
            assert!(key.verifies(b"message", signature));
            assert!(!key.verifies(b"massage", signature));
            for (other, (_, foreign)) in pairs.iter().enumerate() {
                assert_eq!(key.verifies(b"message", foreign), own == other);
            }
        }
    }

    #[test]
    fn keys_of_other_kinds_and_broken_ones_are_refused() {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let right = es256(pair.public_key().as_ref());
        assert!(PublicKey::parse(&right).is_some());
        let mut longer = right.clone();
        longer.push(0);
        let mut off_the_curve = right.clone();
        let last = off_the_curve.len() - 1;
        off_the_curve[last] ^= 1;
        let (x, y) = (Value::from(vec![1; 32]), Value::from(vec![2; 32]));
        let ec = |alg: i64, curve: i64| {
            cose(&[(1, 2.into()), (3, alg.into()), (-1, curve.into()), (-2, x.clone()), (-3, y.clone())])
        };
        let short = vec![0x81; 128];
        let wrong = [
            longer,
            off_the_curve,
            ec(-35, 2),
            ec(-7, 2),
            ec(-257, 1),
            cose(&[(1, 3.into()), (3, (-257).into()), (-1, short.into()), (-2, vec![1, 0, 1].into())]),
            cose(&[(1, 1.into()), (3, (-8).into()), (-1, 6.into()), (-2, vec![1; 31].into())]),
            cose(&[(1, 2.into()), (1, 2.into()), (3, (-7).into())]),
            cose(&[]),
            vec![],
            vec![0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            vec![0x81; 10_000],
        ];
        for wrong in wrong {
            assert_eq!(PublicKey::parse(&wrong), None, "{wrong:02x?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(PublicKey::parse(&bytes), None);
        }
    }
}
