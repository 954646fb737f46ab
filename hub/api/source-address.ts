/** `::ffff:10.0.0.1`, as a dual-stack listener names it → the address alone. */
export function toPlainAddress(host: string): string {
  return host.startsWith('::ffff:') ? host.slice(7) : host
}
