/** Users that are proved by a JSON Web Token, which stands where the password does. */
import { toPrintable } from '../../../core/printable.ts'
import type { KeySource } from '../../../core/jwt/key-source.ts'
import { readClaimedIssuer, type Claims, type JwtAnswer, type JwtTime, verifyJwt } from '../../../core/jwt/verify.ts'
import type { JwtIssuerSettings } from '../../../model/mqtt/users.ts'
import type { ProvedUser } from '../session/owner.ts'
import { findUserNameProblem } from './user-name.ts'

export type TokenIssuer = { readonly settings: JwtIssuerSettings; readonly keys: KeySource }
export type TokenUser = {
  readonly user: ProvedUser
  readonly expiresAtMs: number | undefined
  /** By whose token. */
  readonly secret: TokenIssuer
}

const MAX_GROUPS = 64
const MAX_GROUP_CHARS = 256
/** Of an issuer that a token claims to have, in a message. */
const MAX_SHOWN_CHARS = 128

export class Tokens {
  readonly #issuers: readonly TokenIssuer[]
  readonly #time: () => JwtTime

  constructor(issuers: readonly TokenIssuer[], time: () => JwtTime) {
    this.#issuers = issuers
    this.#time = time
  }

  get issuers(): readonly TokenIssuer[] {
    return this.#issuers
  }
  /** The issuer whose token this claims to be. */
  findIssuer(token: string): TokenIssuer | undefined {
    const claimed = readClaimedIssuer(token)
    return this.#issuers.find(({ settings }) => settings.issuer === claimed)
  }

  /**
   * @returns the user, or why the token is refused, for the operator
   * @throws what keeps the issuer's keys away
   */
  async verify(token: string): Promise<TokenUser | string> {
    const issuer = this.findIssuer(token)
    if (!issuer) {
      const claimed = readClaimedIssuer(token)
      return claimed === undefined
        ? 'a token that names no issuer'
        : `a token of the issuer ${toPrintable(claimed.slice(0, MAX_SHOWN_CHARS))}, which mqtt.users does not have`
    }
    const { settings, keys } = issuer
    const ask = (): JwtAnswer => verifyJwt(token, { ...settings, jwks: keys.current() }, this.#time())
    let answer = ask()
    if (!answer.valid && answer.reason === 'key' && (await keys.lookAgain())) answer = ask()
    if (!answer.valid) return `a token that is refused: ${WORDS[answer.reason]}`
    const name = answer.claims[settings.userClaim]
    if (typeof name !== 'string') return `a token without the claim ${settings.userClaim}`
    const problem = findUserNameProblem(name)
    if (problem !== undefined) return `a token whose claim ${settings.userClaim} ${problem}`
    const groups = groupsOf(answer.claims, settings.groupsClaim)
    if (typeof groups === 'string') return groups
    return { user: { name, groups }, expiresAtMs: answer.expiresAtMs, secret: issuer }
  }
}

const WORDS: Readonly<Record<Extract<JwtAnswer, { valid: false }>['reason'], string>> = {
  malformed: 'it is no token',
  'too-large': 'it is too large',
  algorithm: 'its algorithm is not taken',
  critical: 'it has a critical header that is not understood',
  issuer: 'it is of another issuer',
  key: 'the issuer has no key for it',
  signature: 'its signature is wrong',
  audience: 'it is for somebody else (aud)',
  expired: 'it has expired (exp)',
  'not-yet': 'it is not valid yet (nbf, iat)',
}

/** A list of texts, or one text with spaces between as in `scope`. Too many could be cut to those that allow. */
function groupsOf(claims: Claims, claim: string | undefined): readonly string[] | string {
  const value = claim === undefined ? undefined : claims[claim]
  if (value === undefined) return []
  const list: unknown = typeof value === 'string' ? value.split(' ').filter((one) => one !== '') : value
  const isFine =
    Array.isArray(list) &&
    list.length <= MAX_GROUPS &&
    list.every((one) => typeof one === 'string' && one.length <= MAX_GROUP_CHARS)
  // Checked above: texts, all of them.
  return isFine ? (list as string[]) : `a token whose claim ${claim} is no list of at most ${MAX_GROUPS} names`
}
