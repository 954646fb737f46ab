/** Makes a 64-bit little-endian ELF file smaller without a toolchain for its architecture. */

const HEADER = {
  programOffset: 0x20,
  sectionOffset: 0x28,
  programEntrySize: 0x36,
  programCount: 0x38,
  sectionEntrySize: 0x3a,
  sectionCount: 0x3c,
  sectionNames: 0x3e,
} as const
const PT_LOAD = 1

/**
 * What the dynamic loader reads and nothing else: everything behind the last loaded segment (symbol table, section
 * names) goes, as with `strip` and `sstrip`. @throws Error for a file of another kind
 */
export function loadedPartOf(elf: Buffer): Buffer {
  if (elf.readUInt32BE(0) !== 0x7f454c46 || elf[4] !== 2 || elf[5] !== 1)
    throw new Error('not a 64-bit little-endian ELF file')
  const first = Number(elf.readBigUInt64LE(HEADER.programOffset))
  const size = elf.readUInt16LE(HEADER.programEntrySize)
  let end = first + size * elf.readUInt16LE(HEADER.programCount)
  for (let at = first, n = elf.readUInt16LE(HEADER.programCount); n > 0; n--, at += size) {
    if (elf.readUInt32LE(at) === PT_LOAD)
      end = Math.max(end, Number(elf.readBigUInt64LE(at + 8) + elf.readBigUInt64LE(at + 32)))
  }
  const loaded = Buffer.from(elf.subarray(0, end))
  loaded.writeBigUInt64LE(0n, HEADER.sectionOffset)
  for (const field of [HEADER.sectionCount, HEADER.sectionNames]) loaded.writeUInt16LE(0, field)
  return loaded
}
