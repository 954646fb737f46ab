/**
 * The page on which somebody confirms that they began a login of a command line. Any program of a machine can open its
 * browser here, and an issuer where they are logged in asks nothing (RFC 8252 §8.6, §8.7): without it that program had
 * their session.
 */
import { createHash } from 'node:crypto'
import { describeGrants } from '../access.ts'
import type { Newcomer } from '../logins.ts'

export type ConsentPage = Pick<Newcomer, 'operator' | 'name' | 'grants'> & {
  readonly challenge: string
  /** Where the browser brings the answer. */
  readonly confirm: string
  readonly refuse: string
}

/** Eight letters that both the terminal and the page show: who sees the same in both knows whose login it is. */
export function deriveLoginCode(challenge: string): string {
  const hex = createHash('sha256').update(`login code ${challenge}`).digest('hex').toUpperCase()
  return `${hex.slice(0, 4)}-${hex.slice(4, 8)}`
}

/** HTML without a script. Links, for a policy of forms would have to name the port of the terminal. */
export function formatConsentPage(p: ConsentPage): string {
  const { operator, name, grants, challenge } = p
  const [who, what] = [`${name} (${operator})`, describeGrants(grants)].map(escapeHtml)
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark"><title>Log in a command line?</title></head>
<body><main>
<h1>Log in a command line?</h1>
<p>A program on this machine, which says that it is <code>meshlet-hub login --oidc</code>, wants to be <strong>${who}</strong> at this hub: ${what}.</p>
<p>Go on only if you have just started it yourself, and your terminal shows <strong>${deriveLoginCode(challenge)}</strong>. Otherwise another program asks for your session.</p>
<p><a href="${escapeHtml(p.confirm)}">Yes, log it in</a></p>
<p><a href="${escapeHtml(p.refuse)}">No, that was not me</a></p>
</main></body>
</html>
`
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}
const escapeHtml = (text: string): string => text.replaceAll(/[&<>"']/g, (found) => ENTITIES[found]!)
