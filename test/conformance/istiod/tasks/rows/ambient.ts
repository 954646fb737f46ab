/** An ambient mesh: tunnels to this node and from it, with mutual TLS asked for everywhere. */
import assert from 'node:assert/strict'
import net from 'node:net'
import { until, withEnds, type Finally } from '../../../programs.ts'
import { Ambient, HBONE_PORT, cloudPort } from '../../rig/ambient.ts'
import { echo } from '../../rig/echo.ts'
import { CLOUD, NODE_IP } from '../../rig/mesh-agent.ts'
import type { Check, Task } from '../task.ts'

const CLIENT = `cluster.local/ns/${CLOUD.namespace}/sa/${CLOUD.serviceAccount}`

function check(what: string, run: (mesh: Ambient, t: Finally) => Promise<void>, withoutChains = false): Check {
  return { what, run: () => withEnds(async (t) => run(await Ambient.start(t, { withoutChains }), t)) }
}

/** HTTP and TCP from one agent to the other, by tunnels and by nothing else. */
async function throughTunnels(mesh: Ambient): Promise<void> {
  const { cloud, edge, url } = mesh
  const answer = await cloud.until(url, ({ status }) => status === 200)
  assert.match(answer.body, new RegExp(`URI=spiffe://${CLIENT}`))
  const opened = await edge.metric('mesh_hbone_tunnels_total', 'answer="200"')
  assert.ok(opened >= 1, `${opened} tunnels`)
  const port = await cloudPort()
  const text = await new Promise<string>((resolve) => {
    const socket = net.connect(port, '127.0.0.1', () => socket.write('hello'))
    socket.once('data', (chunk) => {
      resolve(chunk.toString())
      socket.destroy()
    })
    socket.once('close', () => resolve('nothing'))
    socket.on('error', () => {})
  })
  assert.equal(text, 'hello')
  assert.equal(await edge.metric('mesh_hbone_tunnels_total', 'answer="200"'), opened + 1)
}

/** What a connection in plain text to a port hears of it. */
function plainText(port: number): Promise<string> {
  return new Promise((resolve) => {
    let text = ''
    const socket = net.connect(port, NODE_IP, () => socket.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n'))
    socket.on('data', (chunk) => (text += chunk.toString())).on('error', () => {})
    socket.once('close', () => resolve(text))
  })
}

export const ambient: readonly Task[] = [
  {
    name: 'Ambient',
    page: 'ambient/usage/',
    checks: [
      check('a sidecar in an ambient mesh takes all of its configuration', async ({ edge, cloud }) => {
        for (const agent of [edge, cloud]) {
          const { config } = await agent.status('a status')
          assert.deepEqual(config.rejected, [])
        }
      }),
      check(
        'an endpoint that takes tunnels is reached through them, HTTP and TCP, with STRICT and as who calls',
        async (mesh) => {
          mesh.allow(CLIENT)
          await throughTunnels(mesh)
        },
      ),
      check(
        'so it is where istiod sends no chains for tunnels, and agent.yaml alone says that they are taken',
        async (mesh) => {
          mesh.allow(CLIENT)
          await throughTunnels(mesh)
        },
        true,
      ),
      check('plain text is refused where STRICT is asked for', async () => {
        assert.equal(await plainText(HBONE_PORT), '')
        assert.equal(await plainText(15_006), '')
      }),
      check(
        "a policy sees who opened the tunnel: Istio's own client comes in as one and not as another",
        async (mesh, t) => {
          mesh.allow('cluster.local/ns/shop/sa/echo')
          const call = (uri: string): ReturnType<typeof echo> => {
            const folder = mesh.issue(t, uri)
            const tunnel = ['--hbone', `${NODE_IP}:${HBONE_PORT}`, '--hbone-insecure-skip-verify']
            const own = ['--hbone-client-cert', `${folder}/cert-chain.pem`, '--hbone-client-key', `${folder}/key.pem`]
            return echo(`http://${NODE_IP}:${mesh.ports.http}/`, [...tunnel, ...own])
          }
          const ofShop = (who: string): ReturnType<typeof echo> => call(`spiffe://cluster.local/ns/shop/sa/${who}`)
          await until('the policy is in force', async () => (await ofShop('other')).text.includes('StatusCode=403'))
          assert.match((await ofShop('echo')).text, /StatusCode=200/)
          const refused = await call('spiffe://other.domain/ns/shop/sa/echo')
          assert.equal(refused.ok, false)
        },
      ),
    ],
  },
]
