/** What devices ask for: to join, and to renew what they have. */
import type { IncomingMessage } from 'node:http'
import type { FastifyInstance } from 'fastify'
import {
  JOIN_PATH,
  RENEW_PATH,
  type ControlSettings,
  type Joined,
  type Renewed,
} from '../../../../model/fleet/enrollment.ts'
import { MeshError } from '../../../../core/errors.ts'
import type { DeviceService } from '../../../enrollment/devices.ts'
import { readProof, readRequest, type ShownProof } from '../proof-step.ts'
import { errorBody, joinClaims, joined, proofBody, renewClaims, renewed } from '../schemas.ts'

/** At whose port a request came. */
export type Over = 'api' | 'relay'
export type DeviceRoutes = {
  readonly devices: DeviceService
  readonly trustDomain: string
  readonly hubRootsPem: () => string
  readonly control: (over: Over) => ControlSettings
  readonly over: (request: IncomingMessage) => Over
}

export function addDeviceRoutes(app: FastifyInstance, p: DeviceRoutes): void {
  app.post(
    JOIN_PATH,
    {
      schema: {
        summary: 'A device shows a join token once; from then on its key proves it',
        body: proofBody,
        response: { 200: joined, 202: joined, '4xx': errorBody },
      },
      config: { claims: joinClaims },
    },
    async (request, reply): Promise<Joined> => {
      const { asker, claims } = readProof(readRequest(request), joinClaims)
      const { device, state, renewed: first } = await p.devices.join(asker, claims)
      if (state === 'pending') reply.code(202)
      const { name, namespace, serviceAccount } = device
      return {
        state,
        name,
        namespace,
        serviceAccount,
        trustDomain: p.trustDomain,
        hubRootsPem: p.hubRootsPem(),
        control: p.control(p.over(request.raw)),
        ...(first === undefined ? {} : { renewed: first }),
      }
    },
  )
  app.post(
    RENEW_PATH,
    {
      schema: {
        summary: 'The next certificate, by the key of the device alone',
        body: proofBody,
        response: { 200: renewed, '4xx': errorBody },
      },
      config: { claims: renewClaims },
    },
    (request) => answerRenewal(readRequest(request), p),
  )
}

/**
 * Over HTTPS or a stream of the relay. Rejects as `readProof` and DeviceService.renew.
 * @param keyId of the device that alone may ask; undefined: any
 */
export async function answerRenewal(
  proof: ShownProof,
  { devices, hubRootsPem }: Pick<DeviceRoutes, 'devices' | 'hubRootsPem'>,
  keyId?: string,
): Promise<Renewed> {
  const { asker, claims } = readProof(proof, renewClaims)
  // Another device's renewal must not let this one go on.
  if (keyId !== undefined && asker.keyId !== keyId)
    throw new MeshError('MESH_DEVICE_PROOF', "the proof is not of the device's key that opened the connection")
  return { ...(await devices.renew(asker, claims)), hubRootsPem: hubRootsPem() }
}
