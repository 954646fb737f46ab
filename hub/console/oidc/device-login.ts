/**
 * Login of a command line at an issuer, in a browser anywhere: somebody types there a code that the terminal shows
 * (RFC 8628). What the issuer knows the login by goes with the command line, sealed: nobody fills the hub by beginning
 * logins, any replica may ask on, and what is recorded there opens nothing at the issuer.
 */
import type { FastifyInstance } from 'fastify'
import { deriveSource } from '../../../core/ip-source.ts'
import { MeshError, toMeshError } from '../../../core/errors.ts'
import type { Log } from '../../../core/log.ts'
import type { Sealer } from '../../../core/pki/sealing.ts'
import { Buckets } from '../../api/limits/buckets.ts'
import { ERRORS, readAddress, type ConsoleParts } from '../routes/parts.ts'
import { describeSession, type TakeLogin } from '../routes/session.ts'
import * as schemas from '../schemas.ts'
import type { OidcSettings } from '../settings.ts'
import { describePerson } from './grants.ts'
import type { Provider } from './provider.ts'

const PURPOSE = 'command line login'
const MINUTE_MS = 60_000
/** Of one address: five command lines that ask each five seconds. */
const ASKED_PER_MINUTE = 60

export type DeviceLoginRoutes = Pick<ConsoleParts, 'hub' | 'logins' | 'clock'> & {
  readonly settings: OidcSettings
  readonly provider: Provider
  readonly sealer: Sealer
  readonly takeLogin: TakeLogin
  readonly log: Log
}
type StoredFlow = { readonly deviceCode: string; readonly endsMs: number }

export function addDeviceLogin(app: FastifyInstance, p: DeviceLoginRoutes): void {
  const config = { access: { of: 'anyone' } } as const
  const buckets = new Buckets(MINUTE_MS, p.clock)
  app.post(
    '/api/v1/login/device',
    {
      config,
      schema: {
        summary: 'Begins a login of a command line that is confirmed at the issuer, in a browser anywhere',
        response: { 200: schemas.deviceLogin, ...ERRORS },
      },
    },
    async (request): Promise<schemas.DeviceLogin> => {
      p.takeLogin(readAddress(request))
      const { deviceCode, verificationUriComplete, ...shown } = await p.provider.authorizeDevice()
      const flow: StoredFlow = { deviceCode, endsMs: p.clock.wallMs() + shown.expiresSec * 1_000 }
      const sealed = p.sealer.seal(Buffer.from(JSON.stringify(flow)), PURPOSE).toString('base64url')
      return { ...shown, flow: sealed, ...(verificationUriComplete === undefined ? {} : { verificationUriComplete }) }
    },
  )
  app.post<{ Body: { flow: string } }>(
    '/api/v1/login/device/session',
    {
      config,
      schema: {
        summary: 'Its session, once somebody has confirmed it',
        body: schemas.deviceLoginBody,
        response: { 200: schemas.deviceLoginAnswer, ...ERRORS },
      },
    },
    async (request): Promise<schemas.DeviceLoginAnswer> => {
      const address = readAddress(request)
      if (!buckets.take(deriveSource(address), ASKED_PER_MINUTE))
        throw new MeshError('MESH_CONTROL_SLOW_DOWN', `${address} asks more than ${ASKED_PER_MINUTE} times a minute`)
      return await finish(p, openFlow(p, request.body.flow), address)
    },
  )
}

async function finish(
  p: DeviceLoginRoutes,
  { deviceCode }: StoredFlow,
  address: string,
): Promise<schemas.DeviceLoginAnswer> {
  try {
    const claims = await p.provider.redeemDevice(deviceCode)
    if (typeof claims === 'string') return { waits: claims }
    const newcomer = { ...describePerson(claims, p.settings), address, via: 'cli' } as const
    const { secret, session } = await p.logins.begin(newcomer)
    return { login: { secret, session: describeSession(session, p) } }
  } catch (thrown) {
    const err = toMeshError(thrown)
    p.log.warn({ evt: 'hub.console-oidc', ip: address, err }, 'a login at the issuer failed')
    throw err
  }
}

/** Throws MESH_CONSOLE_LOGIN: it is none of this hub, or over. */
function openFlow({ sealer, clock }: DeviceLoginRoutes, sealed: string): StoredFlow {
  try {
    const flow = JSON.parse(sealer.open(Buffer.from(sealed, 'base64url'), PURPOSE).toString()) as StoredFlow
    if (clock.wallMs() < flow.endsMs) return flow
  } catch {
    /* told below */
  }
  throw new MeshError('MESH_CONSOLE_LOGIN', 'the login is none of this hub, or it took too long')
}
