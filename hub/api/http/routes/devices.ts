/** What devices ask for: to join, and to renew what they have. */
import type { FastifyInstance } from 'fastify'
import {
  JOIN_PATH,
  RENEW_PATH,
  type ControlSettings,
  type Joined,
  type Renewed,
} from '../../../../model/fleet/enrollment.ts'
import type { DeviceService } from '../../../enrollment/devices.ts'
import { readProof } from '../proof-step.ts'
import { errorBody, joinClaims, joined, proofBody, renewClaims, renewed } from '../schemas.ts'

export type DeviceRoutes = {
  readonly devices: DeviceService
  readonly trustDomain: string
  readonly hubRootsPem: () => string
  readonly control: () => ControlSettings
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
      const { asker, claims } = readProof(request, joinClaims)
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
        control: p.control(),
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
    async (request): Promise<Renewed> => {
      const { asker, claims } = readProof(request, renewClaims)
      return { ...(await p.devices.renew(asker, claims)), hubRootsPem: p.hubRootsPem() }
    },
  )
}
