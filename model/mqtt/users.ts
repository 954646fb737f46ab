import * as z from 'zod'
import { readJwks } from '../../core/jwt/jwks.ts'

/**
 * Who the users of this node's MQTT broker are, and how they prove it. Of agent.yaml alone: it names files of this
 * node, and is one set of users for all listeners, pushed ones included.
 */

const file = () => z.string().min(1)
const count = () => z.number().int().positive()

/** What of a certificate is the user's name. */
export const CERTIFICATE_USERS = ['spiffe', 'cn', 'dns-san', 'uri-san', 'subject'] as const
export type CertificateUser = (typeof CERTIFICATE_USERS)[number]

/** Ways to prove a user. */
export const USER_METHODS = ['password', 'scram-sha-256', 'jwt', 'certificate', 'psk'] as const
export type UserMethod = (typeof USER_METHODS)[number]

const issuer = () =>
  z
    .strictObject({
      /** `iss` of its tokens, letter by letter. */
      issuer: z.string().min(1).max(1024),
      /** One of them has to be in `aud`. */
      audiences: z.array(z.string().min(1)).min(1).max(16),
      /** Its keys (RFC 7517), here; */
      jwks: z
        .looseObject({ keys: z.array(z.unknown()) })
        .superRefine(refuseKeys)
        .optional(),
      /** or in a file that is read again when it changes; */
      jwksFile: file().optional(),
      /** or where they can be fetched. */
      jwksUrl: z
        .url({ protocol: /^https$/ })
        .max(2048)
        .optional(),
      /** Which claim is the user's name. */
      userClaim: z.string().min(1).max(128).default('sub'),
      /** Which claim, a list or a text with spaces between, has the groups of the user. */
      groupsClaim: z.string().min(1).max(128).optional(),
    })
    .refine((i) => [i.jwks, i.jwksFile, i.jwksUrl].filter((one) => one !== undefined).length === 1, {
      message: 'needs one of `jwks`, `jwksFile` and `jwksUrl`',
    })

export const createMqttUsersSchema = () =>
  z
    .strictObject({
      /** `name:hash` a line, mosquitto's among them. */
      passwordFile: file().optional(),
      /** Tokens in the place of the password. */
      jwt: z.strictObject({ issuers: z.array(issuer()).min(1).max(16) }).optional(),
      certificateUser: z.enum(CERTIFICATE_USERS).optional(),
      /** `identity:hexadecimal key` a line, as mosquitto's psk_file; for listeners whose `tls` has mode `psk`. */
      pskFile: file().optional(),
      /** Hashes of passwords that are computed at once. Each takes a processor, and as much memory as its line says. */
      maxPasswordChecks: count().max(16).default(1),
      /** Clients whose password waits for its turn. */
      maxWaitingChecks: count().default(512),
      /** The longest time that a refusal is held back from a source that has been refused before; 0 = not at all. */
      maxRefusalDelayMs: z.number().int().nonnegative().max(8_000).default(4_000),
    })
    .refine((u) => [u.passwordFile, u.jwt, u.certificateUser, u.pskFile].some((one) => one !== undefined), {
      message:
        'names no way in which a client could prove who it is: `passwordFile`, `jwt`, `certificateUser` or `pskFile`',
    })

export type MqttUsers = z.infer<ReturnType<typeof createMqttUsersSchema>>
export type JwtIssuerSettings = NonNullable<MqttUsers['jwt']>['issuers'][number]

/** The ways in which a user can be proved through a listener. @param users undefined: the node has none */
export function listUserMethods(
  users: MqttUsers | undefined,
  {
    authentication,
    certificateUser,
  }: { authentication?: readonly UserMethod[] | undefined; certificateUser?: CertificateUser | undefined },
): readonly UserMethod[] {
  if (!users) return []
  const all: UserMethod[] = []
  if (users.passwordFile !== undefined) all.push('password', 'scram-sha-256')
  if (users.jwt) all.push('jwt')
  if ((certificateUser ?? users.certificateUser) !== undefined) all.push('certificate')
  if (users.pskFile !== undefined) all.push('psk')
  return authentication ? all.filter((method) => authentication.includes(method)) : all
}

function refuseKeys(jwks: object, ctx: z.RefinementCtx): void {
  try {
    readJwks(jwks)
  } catch (err) {
    ctx.addIssue({ code: 'custom', message: err instanceof Error ? err.message : String(err) })
  }
}
