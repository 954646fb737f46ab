import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { freePorts } from '../../../tools/free-ports.ts'
import { testCa } from '../../helpers/test-ca.ts'
import { testHub } from '../../hub/start-hub.ts'
import { meshlet, says } from '../../scenarios/cli.ts'
import { machine, type Machine } from '../../scenarios/machine.ts'
import { controlYaml } from '../../scenarios/site.ts'

/** No token, none in a file or in standard input, and what cannot be one. */
async function joinsWithoutToken(m: Machine, token: string): Promise<void> {
  says(await meshlet(['join', '-c', m.file]), {
    exit: 1,
    code: 'MESH_NO_IDENTITY',
    what: /neither a certificate nor a join token/,
    remedy: /meshlet join gets one with a join token \(control\.token, or --token\)/,
  })
  says(await meshlet(['join', '-c', m.file, '--token', '/nowhere/token']), {
    exit: 1,
    code: 'MESH_TOKEN_INVALID',
    what: /--token: there is no token in \/nowhere\/token/,
    remedy: /meshlet-hub token create/,
  })
  says(await meshlet(['join', '-c', m.file, '--token', '-'], '\n'), {
    exit: 1,
    code: 'MESH_TOKEN_INVALID',
    what: /there is no token in standard input/,
    remedy: /token create/,
  })
  says(await meshlet(['join', '-c', m.file, '--token', '-'], 'two words'), {
    exit: 1,
    code: 'MESH_TOKEN_INVALID',
    what: /standard input holds something that is no token/,
    remedy: /token create/,
  })
  fs.writeFileSync(token, 'a token\nwith lines')
  says(await meshlet(['join', '-c', m.file]), {
    exit: 1,
    code: 'MESH_TOKEN_INVALID',
    what: /edge\.token holds something that is no token/,
    remedy: /token create/,
  })
}

test('a wrong token: join says who refused it and where the next one comes from; the token itself is never shown', async (t) => {
  const [hub, other] = [await testHub(t), await testHub(t)]
  const m = machine(t)
  fs.writeFileSync(`${m.folder}/roots.pem`, hub.hub.rootsPem)
  m.write(
    `node: {name: edge, namespace: edge, serviceAccount: gateway}\n${controlYaml(m.folder, 'edge', hub.hub.port)}`,
  )
  const token = `${m.folder}/edge.token`
  const foreign = (await other.hub.createToken({ namespace: 'edge', serviceAccount: 'gateway', nodes: '*' })).token
  const ended = (await hub.hub.createToken({ namespace: 'edge', serviceAccount: 'gateway', nodes: '*', ttlSec: -1 }))
    .token
  const identity = `${m.state}/identity/identity.json`

  await joinsWithoutToken(m, token)
  for (const [wrong, why] of [
    ['s3cret-nonsense', /is not one of this hub/],
    [foreign, /is not signed by this hub/],
    [ended, /ended at 20/],
  ] as const) {
    fs.writeFileSync(token, wrong)
    const said = await meshlet(['join', '-c', m.file])
    says(said, {
      exit: 1,
      code: 'MESH_CONTROL_UNAUTHENTICATED',
      what: why,
      remedy: /Put a new token into the file of control\.token/,
    })
    assert.match(said.err, new RegExp(`127\\.0\\.0\\.1:${hub.hub.port}`))
    assert.equal(said.err.includes(wrong), false)
  }
  assert.equal(fs.existsSync(identity), false)

  fs.writeFileSync(
    token,
    (await hub.hub.createToken({ namespace: 'edge', serviceAccount: 'gateway', nodes: '*' })).token,
  )
  const joined = await meshlet(['join', '-c', m.file])
  assert.deepEqual([joined.code, joined.err], [0, ''])
  assert.match(joined.out, /^joined as spiffe:\/\/demo\.mesh\/ns\/edge\/sa\/gateway, certificate valid until 20/)
  const before = fs.readFileSync(identity)
  assert.equal((await meshlet(['join', '-c', m.file, '--token', '-'], foreign)).code, 1)
  assert.deepEqual(fs.readFileSync(identity), before, 'a join that fails leaves the identity as it is')
})

test('a control plane that is not there, or is somebody else, is told apart', async (t) => {
  const hub = await testHub(t)
  const m = machine(t)
  fs.writeFileSync(
    `${m.folder}/edge.token`,
    (await hub.hub.createToken({ namespace: 'edge', serviceAccount: 'gateway', nodes: '*' })).token,
  )
  const [nobody] = (await freePorts(1)) as [number]
  m.write(controlYaml(m.folder, 'edge', nobody))
  says(await meshlet(['join', '-c', m.file]), {
    exit: 2,
    code: 'MESH_CONFIG_INVALID',
    what: /control\.roots: there is no file .*roots\.pem/,
    remedy: /Correct/,
  })
  fs.writeFileSync(`${m.folder}/roots.pem`, testCa('demo.mesh').rootsPem)
  says(await meshlet(['join', '-c', m.file]), {
    exit: 1,
    code: 'MESH_CONTROL_UNREACHABLE',
    what: new RegExp(`127\\.0\\.0\\.1:${nobody} is not reachable for the certificate: connect ECONNREFUSED`),
    remedy: /Check the address, the route and the firewall/,
  })
  m.write(controlYaml(m.folder, 'edge', hub.hub.port))
  says(await meshlet(['join', '-c', m.file]), {
    exit: 1,
    code: 'MESH_CONTROL_TLS',
    what: /certificate/,
    remedy: /Put the root certificate of the control plane's CA into the file of control\.roots/,
  })
  fs.writeFileSync(`${m.folder}/roots.pem`, hub.hub.rootsPem)
  m.write(controlYaml(m.folder, 'edge', hub.hub.port).replace('hub.demo.mesh', 'other.demo.mesh'))
  says(await meshlet(['join', '-c', m.file]), {
    exit: 1,
    code: 'MESH_CONTROL_NAME',
    what: /other\.demo\.mesh/,
    remedy: /Set control\.serverName/,
  })
  fs.writeFileSync(`${m.folder}/roots.pem`, 'no pem')
  says(await meshlet(['join', '-c', m.file]), {
    exit: 2,
    code: 'MESH_CONFIG_INVALID',
    what: /control\.roots: .*roots\.pem holds no certificate/,
    remedy: /Correct/,
  })
})

test('--json tells who this machine is now; a second join with a token makes a new certificate', async (t) => {
  const { hub } = await testHub(t)
  const m = machine(t)
  fs.writeFileSync(`${m.folder}/roots.pem`, hub.rootsPem)
  m.write(`node: {name: edge, namespace: edge, serviceAccount: gateway}\n${controlYaml(m.folder, 'edge', hub.port)}`)
  const { token } = await hub.createToken({ namespace: 'edge', serviceAccount: 'gateway', nodes: '*' })
  const join = async (): Promise<Record<string, string>> => {
    const { code, out, err } = await meshlet(['join', '-c', m.file, '--token', '-', '--json'], `${token}\n`)
    assert.deepEqual([code, err], [0, ''])
    return JSON.parse(out) as Record<string, string>
  }
  const first = await join()
  assert.deepEqual(Object.keys(first), ['spiffeId', 'serial', 'notAfter', 'node'])
  assert.deepEqual([first['spiffeId'], first['node']], ['spiffe://demo.mesh/ns/edge/sa/gateway', 'edge'])
  assert.ok(Date.parse(first['notAfter']!) > Date.now())
  assert.notEqual((await join())['serial'], first['serial'])
})

test('without a control plane there is nothing to join', async (t) => {
  const m = machine(t)
  says(await meshlet(['join', '-c', m.file]), {
    exit: 2,
    code: 'MESH_CONFIG_INVALID',
    what: /agent\.yaml has no `control`: without a control plane there is nothing to join/,
    remedy: /Correct/,
  })
  assert.equal(fs.existsSync(m.state), false)
})
