/**
 * Text of values that come from configuration or certificates: UTF-8 bytes as latin1 characters, what no field may hold
 * left out.
 */
export function asFieldValue(text: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  if (!/[^\t\x20-\x7e]/.test(text)) return text
  const latin1 = Buffer.from(text, 'utf8').toString('latin1')
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  return latin1.replace(/[\0-\x08\x0a-\x1f\x7f]/g, '')
}
