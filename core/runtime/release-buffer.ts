/**
 * Bytes of which nobody keeps a view give their memory back at once. The collector, which hardly ever runs in an idle
 * process, would be made to run by what waits for it: the two megabytes of every stream that comes back and says that
 * nothing has changed. Of a piece of something larger nothing is given back.
 */
export function releaseBuffer({ buffer, byteLength }: Uint8Array): void {
  if (byteLength >= LARGE_BYTES && byteLength + FRAME_BYTES >= buffer.byteLength && buffer instanceof ArrayBuffer)
    buffer.transfer(0)
}
const LARGE_BYTES = 64 * 1024
/** gRPC hands out the message as a piece of its frame, which begins with compression and length. */
const FRAME_BYTES = 5
