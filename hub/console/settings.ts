/** The section `console` of hub.yaml. */
import * as z from 'zod'

const whole = (min: number, max: number): z.ZodNumber => z.int().min(min).max(max)
const HOST_PORT = /^(?:\[[0-9a-fA-F:]+\]|[^:[\]\s]+):(\d{1,5})$/
const isOrigin = (text: string): boolean => {
  const url = URL.parse(text)
  return url !== null && /^https?:$/.test(url.protocol) && (text === url.origin || text === `${url.origin}/`)
}

const oidc = z.strictObject({
  issuer: z
    .string()
    .max(1_024)
    .refine((text) => URL.parse(text)?.protocol === 'https:', 'must be an https URL')
    .describe('OpenID Connect issuer, as its tokens name it; what it says of itself is asked there'),
  clientId: z.string().min(1).max(256).describe('of the hub at the issuer'),
  clientSecretFile: z.string().min(1).optional().describe('file with the secret; without it the client is public'),
  scopes: z
    .array(z.string().regex(/^[\x21\x23-\x5b\x5d-\x7e]{1,128}$/))
    .max(20)
    .default(['openid', 'profile'])
    .describe('what is asked for; `openid` is always among them'),
  claim: z.string().min(1).max(128).default('groups').describe('claim of the id token whose values give roles'),
  roles: z
    .array(
      z.strictObject({
        value: z.string().min(1).max(256).describe('value of the claim'),
        role: z.enum(['viewer', 'operator', 'admin']).describe('what whoever has it may'),
        namespace: z.string().min(1).max(63).default('*').describe('where; `*` is everywhere'),
      }),
    )
    .min(1)
    .max(200)
    .describe('who may what; whoever has none of these does not get in'),
  roots: z
    .string()
    .min(1)
    .optional()
    .describe('file with certificates that the issuer is checked against; default: those of Node'),
})

export const consoleSchema = z.strictObject({
  listen: z
    .string()
    .regex(HOST_PORT, 'must be ADDRESS:PORT')
    .refine((text) => Number(HOST_PORT.exec(text)?.[1] ?? 0) <= 65_535, 'has a port above 65535')
    .default('127.0.0.1:15080')
    .describe('where browsers connect: plain HTTP on loopback, HTTPS everywhere else'),
  publicUrl: z
    .string()
    .max(512)
    .refine(isOrigin, 'must be a scheme, a name and at most a port, e.g. https://console.example.org')
    .optional()
    .describe('how browsers reach it, where a proxy stands before it; its Host is served and its Origin taken'),
  certificateFile: z
    .string()
    .min(1)
    .optional()
    .describe('chain in PEM for HTTPS, read again once a minute; default: a certificate of the hub’s own CA'),
  keyFile: z.string().min(1).optional().describe('its key'),
  idleSec: whole(60, 86_400).default(1_800).describe('a session that asks nothing for so long is over'),
  sessionSec: whole(300, 7 * 86_400)
    .default(43_200)
    .describe('and so is one of this age'),
  cliSessionSec: whole(300, 90 * 86_400)
    .default(43_200)
    .describe('a session of `meshlet-hub login --hub` on another machine is over at this age'),
  requestMs: whole(100, 600_000).default(20_000).describe('a request has so long to come whole, milliseconds'),
  requestsPerMinute: whole(10, 1_000_000).default(1_200).describe('requests of one address'),
  loginsPerMinute: whole(1, 10_000).default(20).describe('logins that one address tries'),
  maxConnections: whole(1, 100_000).default(512).describe('TCP connections at once'),
  maxStreams: whole(1, 10_000).default(128).describe('pages that are kept up to date at once'),
  oidc: oidc.optional().describe('login by an issuer of OpenID Connect; left out: by `meshlet-hub login` alone'),
})

export type ConsoleSettings = Readonly<z.infer<typeof consoleSchema>>
export type OidcSettings = NonNullable<ConsoleSettings['oidc']>
