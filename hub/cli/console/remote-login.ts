/** `meshlet-hub login --hub` and `meshlet-hub logout --hub`: a session at a hub on another machine. */
import type { ExitCode } from '../../../core/cli/exit.ts'
import { MeshError } from '../../../core/errors.ts'
import { systemClock } from '../../../core/os/clock.ts'
import { systemDisk } from '../../../core/os/disk.ts'
import { toPrintable } from '../../../core/printable.ts'
import { isLoopback } from '../../../model/browser.ts'
import { describeGrants } from '../../console/access.ts'
import { cliLogin, done, loginWays, type CliLogin } from '../../console/schemas.ts'
import type { Io } from '../io.ts'
import { formatDate } from '../table.ts'
import { logInByBrowser } from './browser-login.ts'
import { HubClient } from './client.ts'
import { logInByDevice } from './device-login.ts'
import { SavedLogins, type SavedLogin } from './saved-logins.ts'
import { parseHubUrl, readRoots, type TrustOptions } from './trust.ts'

export type RemoteOptions = TrustOptions & { readonly oidc: boolean; readonly deviceCode: boolean }

const PROMPT = 'The link that `meshlet-hub login` prints on the hub, or what stands behind its #login= (not shown): '

/** Rejects with what the hub refuses with, MESH_CONFIG_INVALID, MESH_FILE_UNWRITABLE, MESH_HUB_*. */
export async function logIn(at: string, o: RemoteOptions, io: Io): Promise<ExitCode> {
  const url = parseHubUrl(at)
  const saved = openSavedLogins(io)
  // The link is good for one login: what cannot be kept must not use it up.
  saved.check()
  const { readProxy } = io
  const roots = await readRoots(url, o, { clock: systemClock, readProxy })
  const link = o.oidc || o.deviceCode ? undefined : readLink(await readSecret(io), url)
  using client = new HubClient({ url, roots, secret: undefined, clock: systemClock, readProxy })
  const ask = (body: object): Promise<CliLogin> =>
    client.ask({ method: 'POST', path: 'login/cli', body, answer: cliLogin })
  const { secret, session } =
    link === undefined ? await logInByIssuer({ client, clock: systemClock, io }, o, ask) : await ask({ token: link })
  const { operator, endsMs, version, grants } = session
  const before = saved.find(url.origin)
  const login: SavedLogin = { secret, operator, endsMs, version, ...(roots === undefined ? {} : { roots }) }
  try {
    saved.save(url.origin, login)
  } catch (thrown) {
    await end(url, login, io)
    throw thrown
  }
  if (before) await end(url, before, io).catch(() => undefined)
  io.out(
    toPrintable(`logged in to ${url.origin} as ${operator}, ${describeGrants(grants)}, until ${formatDate(endsMs)}`) +
      '\n',
  )
  return 0
}

/** By a code where there is no browser to open, or somebody asks for it. Rejects with MESH_CONFIG_INVALID: no issuer. */
async function logInByIssuer(
  p: Parameters<typeof logInByBrowser>[0],
  { deviceCode }: RemoteOptions,
  ask: (body: object) => Promise<CliLogin>,
): Promise<CliLogin> {
  const { oidc } = await p.client.ask({ path: 'login', answer: loginWays })
  if (!oidc)
    throw new MeshError(
      'MESH_CONFIG_INVALID',
      `${p.client.hub} has no issuer (console.oidc): log in by a link, without --oidc and --device-code`,
    )
  if (!deviceCode && p.io.hasBrowser !== false) return await logInByBrowser(p, ask)
  try {
    return await logInByDevice(p)
  } catch (thrown) {
    const isNotOffered = thrown instanceof MeshError && thrown.code === 'MESH_CONSOLE_NOT_FOUND'
    if (!isNotOffered) throw thrown
    if (deviceCode)
      throw new MeshError(
        'MESH_CONFIG_INVALID',
        `${thrown.message}: log in by a link, or with --oidc where a browser is`,
      )
    p.io.err('the issuer has no login by a code for machines without a browser, so one on this machine is needed\n')
    return await logInByBrowser(p, ask)
  }
}

/** Rejects with MESH_HUB_UNREACHABLE when the session is forgotten here alone. */
export async function logOut(at: string, io: Io): Promise<ExitCode> {
  const url = parseHubUrl(at)
  const saved = openSavedLogins(io)
  const login = saved.find(url.origin)
  if (!login) {
    io.out(`nobody was logged in to ${url.origin}\n`)
    return 0
  }
  saved.remove(url.origin)
  try {
    await end(url, login, io)
  } catch (cause) {
    const { message } = cause as Error
    throw new MeshError(
      'MESH_HUB_UNREACHABLE',
      `the session is forgotten here, but the hub does not know (${message}): it is over at ${formatDate(login.endsMs)}, and at once after \`meshlet-hub sessions end ${toPrintable(login.operator)}\` there`,
      { cause },
    )
  }
  io.out(`logged out of ${url.origin}\n`)
  return 0
}

/** Asks as whoever is logged in. Throws MESH_CONFIG_INVALID, MESH_HUB_SESSION. */
export function openClient(at: string, io: Io): HubClient {
  const url = parseHubUrl(at)
  const login = openSavedLogins(io).find(url.origin)
  if (!login) throw new MeshError('MESH_HUB_SESSION', `nobody is logged in to ${url.origin} on this machine`)
  if (login.endsMs <= systemClock.wallMs())
    throw new MeshError('MESH_HUB_SESSION', `the session at ${url.origin} was over at ${formatDate(login.endsMs)}`)
  const { roots, secret, version } = login
  return new HubClient({ url, roots, secret, version, clock: systemClock, readProxy: io.readProxy })
}

async function end(url: URL, { secret, roots }: SavedLogin, { readProxy }: Io): Promise<void> {
  using client = new HubClient({ url, roots, secret, clock: systemClock, readProxy })
  await client.ask({ method: 'DELETE', path: 'session', answer: done })
}

function openSavedLogins({ savedLogins }: Io): SavedLogins {
  if (savedLogins === undefined)
    throw new MeshError(
      'MESH_CONFIG_INVALID',
      'there is no place for a session: neither XDG_CONFIG_HOME nor HOME is set',
    )
  return new SavedLogins(savedLogins, systemDisk)
}

/** Never of the command line, which others see. */
async function readSecret({ askSecret, standardInput }: Io): Promise<string> {
  if (askSecret) return await askSecret(PROMPT)
  return (await standardInput?.())?.toString('utf8') ?? ''
}

/** Throws MESH_CONFIG_INVALID, without what was given. */
function readLink(given: string, url: URL): string {
  const text = given.trim()
  const link = text.includes('#') ? URL.parse(text) : null
  const secret = link ? /^#login=(.*)$/.exec(link.hash)?.[1] : text
  if (secret === undefined || !/^[\w-]{43}$/.test(secret))
    throw new MeshError('MESH_CONFIG_INVALID', 'that is no link of `meshlet-hub login`; it goes to standard input')
  // A tunnel or a proxy has another name than the hub; what is on this machine is trusted to be meant.
  if (link && link.origin !== url.origin && !isLoopback(url.hostname) && !isLoopback(link.hostname))
    throw new MeshError(
      'MESH_CONFIG_INVALID',
      `the link is for ${toPrintable(link.origin)}, and --hub says ${url.origin}: give what stands behind its #login= if both are the same hub`,
    )
  return secret
}
