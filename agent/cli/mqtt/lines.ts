/** Lines of what comes in parts, each once it is there; the last need not have an end. */
const MAX_LINE_BYTES = 256 * 1024 * 1024

/** @throws RangeError for a line that no packet can carry */
export async function* splitLines(parts: AsyncIterable<Buffer> | Iterable<Buffer>): AsyncGenerator<Buffer> {
  let begun: Buffer[] = []
  let bytes = 0
  for await (const part of parts) {
    let from = 0
    for (let end = part.indexOf(0x0a); end >= 0; end = part.indexOf(0x0a, from)) {
      yield Buffer.concat([...begun, part.subarray(from, end)])
      begun = []
      bytes = 0
      from = end + 1
    }
    if (from === part.length) continue
    begun.push(part.subarray(from))
    bytes += part.length - from
    if (bytes > MAX_LINE_BYTES) throw new RangeError(`a line is longer than ${MAX_LINE_BYTES} bytes`)
  }
  if (begun.length > 0) yield Buffer.concat(begun)
}
