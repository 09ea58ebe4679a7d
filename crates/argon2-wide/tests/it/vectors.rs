use argon2_wide::{Backend, Cost, Error, Input, Memory};

const INPUT: Input<'_> =
    Input { password: &[1; 32], salt: &[2; 16], secret: &[3; 8], associated_data: &[4; 12] };

// RFC 9106, 5.3.
const TAG: [u8; 32] = [
    0x0d, 0x64, 0x0d, 0xf5, 0x8d, 0x78, 0x76, 0x6c, 0x08, 0xc0, 0x37, 0xa3, 0x4a, 0x8b, 0x53, 0xc9, 0xd0,
    0x1e, 0xf0, 0x45, 0x2d, 0x75, 0xb6, 0x5e, 0xb5, 0x25, 0x20, 0xe9, 0x6b, 0x01, 0xe6, 0x59,
];

#[test]
fn every_backend_gives_the_tag_of_the_rfc() {
    let mut memory = Memory::new();
    for backend in Backend::all() {
        let mut tag = [0; 32];
        backend.argon2id(INPUT, Cost { memory: 32, passes: 3, lanes: 4 }, &mut memory, &mut tag).unwrap();
        assert_eq!(tag, TAG, "{}", backend.name());
    }
}

#[test]
fn there_is_always_a_portable_one_and_the_widest_comes_first() {
    let names: Vec<&str> = Backend::all().map(Backend::name).collect();
    assert_eq!(names.last(), Some(&"portable"));
    assert_eq!(Backend::widest().name(), names[0]);
    #[cfg(target_arch = "x86_64")]
    {
        assert_eq!(names.contains(&"avx2"), std::arch::is_x86_feature_detected!("avx2"));
        assert_eq!(names.contains(&"avx512"), std::arch::is_x86_feature_detected!("avx512vl"));
    }
}

#[test]
fn lengths_out_of_bounds_are_refused() {
    let cost = Cost { memory: 8, passes: 1, lanes: 1 };
    let hash = |salt, output: &mut [u8]| {
        Backend::widest().argon2id(Input { salt, ..INPUT }, cost, &mut Memory::new(), output)
    };
    assert_eq!(hash(&[0; 7], &mut [0; 32]), Err(Error::Length));
    assert_eq!(hash(&[0; 8], &mut [0; 3]), Err(Error::Length));
    assert_eq!(hash(&[0; 8], &mut [0; 4]), Ok(()));
}

#[test]
fn neither_password_nor_pepper_is_shown() {
    assert_eq!(format!("{INPUT:?}"), "Input { .. }");
}
