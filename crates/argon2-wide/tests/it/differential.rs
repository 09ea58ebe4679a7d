use argon2::{Algorithm, Argon2, AssociatedData, ParamsBuilder, Version};
use argon2_wide::{Backend, Cost, Input, Memory};
use proptest::{collection::vec, prelude::*};

// A memory larger than the hash needs, and full of another hash's blocks.
fn used() -> Memory {
    let mut memory = Memory::new();
    let input = Input { password: b"another", salt: b"another salt", secret: b"", associated_data: b"" };
    let cost = Cost { memory: 900, passes: 1, lanes: 3 };
    Backend::widest().argon2id(input, cost, &mut memory, &mut [0; 16]).unwrap();
    memory
}

fn reference(input: Input<'_>, cost: Cost, output: &mut [u8]) {
    let params = ParamsBuilder::new()
        .m_cost(cost.memory)
        .t_cost(cost.passes)
        .p_cost(cost.lanes)
        .output_len(output.len())
        .data(AssociatedData::new(input.associated_data).unwrap())
        .build()
        .unwrap();
    Argon2::new_with_secret(input.secret, Algorithm::Argon2id, Version::V0x13, params)
        .unwrap()
        .hash_password_into(input.password, input.salt, output)
        .unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_backend_agrees_with_the_other_implementation(
        (lanes, memory) in (1_u32..=5).prop_flat_map(|lanes| (Just(lanes), 8 * lanes..=800)),
        passes in 1_u32..=4,
        password in vec(any::<u8>(), 0..200),
        salt in vec(any::<u8>(), 8..80),
        secret in vec(any::<u8>(), 0..70),
        associated_data in vec(any::<u8>(), 0..32),
        length in 4_usize..=200,
    ) {
        let input = Input {
            password: &password, salt: &salt, secret: &secret, associated_data: &associated_data,
        };
        let cost = Cost { memory, passes, lanes };
        let mut expected = vec![0; length];
        reference(input, cost, &mut expected);
        let mut memory = used();
        for backend in Backend::all() {
            let mut tag = vec![0; length];
            backend.argon2id(input, cost, &mut memory, &mut tag).unwrap();
            prop_assert_eq!(&tag, &expected, "{}", backend.name());
        }
    }
}
