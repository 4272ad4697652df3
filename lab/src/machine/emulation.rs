//! Whether the machine is made of software: its times are then those of no machine.

/// How QEMU's software emulation signs where a hypervisor does (QEMU's target/i386/cpu.c, leaf 0x40000000).
const SIGNATURE: &[u8; 12] = b"TCGTCGTCGTCG";

/// By the name of the processor, which QEMU chooses unless it is told another one, and by the hypervisor's signature, which
/// it can't be told.
pub(super) fn emulated(processor: &str) -> bool {
    named(processor) || signature().is_some_and(|it| it == *SIGNATURE)
}

fn named(processor: &str) -> bool {
    processor.contains("QEMU") || processor.contains("TCG")
}

/// What the hypervisor calls itself; `None` without one.
#[cfg(target_arch = "x86_64")]
fn signature() -> Option<[u8; 12]> {
    use std::arch::x86_64::__cpuid;

    // Bit 31 of ECX of leaf 1 tells of a hypervisor; leaf 0x40000000 then has its name in EBX, ECX and EDX (Linux'
    // arch/x86/include/asm/processor.h, hypervisor_cpuid_base).
    if __cpuid(1).ecx >> 31 == 0 {
        return None;
    }
    let leaf = __cpuid(0x4000_0000);
    let mut name = [0; 12];
    for (four, register) in name.chunks_exact_mut(4).zip([leaf.ebx, leaf.ecx, leaf.edx]) {
        four.copy_from_slice(&register.to_le_bytes());
    }
    Some(name)
}

#[cfg(not(target_arch = "x86_64"))]
fn signature() -> Option<[u8; 12]> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emulated_processor_is_known_by_its_name() {
        assert!(named("QEMU TCG CPU version 2.5+") && named("QEMU Virtual CPU version 2.5+"));
        assert!(!named("Intel(R) Xeon(R) Processor @ 2.60GHz") && !named("AMD EPYC 7B13"));
    }

    #[test]
    fn a_signature_is_there_whenever_the_kernel_sees_a_hypervisor() {
        let signed = signature();
        if let Some(name) = signed {
            assert!(name.iter().all(|it| *it == 0 || it.is_ascii_graphic() || *it == b' '), "{name:?}");
        }
        // Same facts, told by the kernel: the flag is in /proc/cpuinfo whenever there is a signature.
        let processor = std::fs::read_to_string("/proc/cpuinfo").expect("/proc");
        let flags = processor.lines().find(|it| it.starts_with("flags")).unwrap_or_default();
        assert_eq!(flags.split(' ').any(|it| it == "hypervisor"), signed.is_some());
    }
}
