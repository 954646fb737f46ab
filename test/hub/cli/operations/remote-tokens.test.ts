/** What was made and cannot be kept must not stay valid. That it is made at all stands in test/scenarios/fleet. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import type { MeshError } from '../../../../core/errors.ts'
import { systemClock } from '../../../../core/os/clock.ts'
import { HubClient, type Asked } from '../../../../hub/cli/console/client.ts'
import type { SavedLogin } from '../../../../hub/cli/console/saved-logins.ts'
import { RemoteTokens } from '../../../../hub/cli/operations/remote-tokens.ts'
import { remoteRig } from '../remote-rig.ts'

const WISH = {
  namespace: 'edge',
  serviceAccount: 'gw',
  ttlSec: undefined,
  maxUses: 1,
  cidrs: [],
  labels: {},
  approval: false,
}

test('tokens that cannot be written down are revoked', async (t) => {
  const rig = await remoteRig(t)
  await rig.enter()
  const logins = JSON.parse(fs.readFileSync(rig.machine.savedLogins, 'utf8')) as Record<string, SavedLogin>
  const { secret } = logins[rig.url]!
  using client = new HubClient({ url: new URL(rig.url), roots: undefined, secret, clock: systemClock })
  const names = Array.from({ length: 201 }, (_, i) => `gw-${i}`)
  const full = (): void => {
    throw new Error('the disk is full')
  }
  await assert.rejects(new RemoteTokens(client).create(WISH, names, full), /the disk is full/)
  const made = await rig.hub.registry.tokens()
  assert.equal(made.length, 201)
  assert.ok(made.every(({ revokedMs }) => revokedMs !== null))
})

test('what could not be revoked either is told; what is no token is none', async () => {
  const answering = (answer: (asked: Asked<unknown>) => unknown): HubClient =>
    ({ ask: async (asked: Asked<unknown>) => answer(asked) }) as unknown as HubClient
  const one = (id: string, token: string) => ({ tokens: [{ id, token, expiresMs: 1 }] })
  let asks = 0
  const away = answering(() => {
    if (asks++ === 0) return one('j1', 'a.b.c')
    throw new Error('gone')
  })
  const full = (): void => {
    throw new Error('full')
  }
  await assert.rejects(
    new RemoteTokens(away).create(WISH, ['gw-1'], full),
    /of 1 token\(s\) .* not all could be revoked/,
  )
  for (const bad of [one('=cmd|x', 'a.b.c'), one('j1', 'a\nb,c'), one('', 'a'), { tokens: [] }])
    await assert.rejects(
      new RemoteTokens(answering(() => bad)).create(WISH, ['gw-1'], () => undefined),
      (err: MeshError) => err.code === 'MESH_HUB_ANSWER',
    )
})
