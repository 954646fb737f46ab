/** Names of hosts, as an istiod's validation has them. */
const LABEL = /^[a-zA-Z0-9](?:[-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?$/
const FIRST_LABEL = /^(?:\*|(?:\*-)?[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?)$/

/** As Istio's ValidateWildcardDomain; the last label may be empty (`istio.io.`), and is no number. */
export function isWildcardDomain(host: string): boolean {
  const [first = '', ...rest] = host.split('.')
  if (first.length > 63 || !FIRST_LABEL.test(first)) return false
  if (/^[+-]?\d+$/.test(rest.at(-1) ?? '')) return false
  return rest.every((label, i) => LABEL.test(label) || (label === '' && i === rest.length - 1))
}
