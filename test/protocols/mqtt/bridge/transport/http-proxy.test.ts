import { test } from 'node:test'
import assert from 'node:assert/strict'
import { MeshError } from '../../../../../core/errors.ts'
import { bridge } from '../../../../../model/mqtt/bridge.ts'
import { findProxy } from '../../../../../protocols/mqtt/bridge/transport/http-proxy.ts'

type Input = Parameters<ReturnType<typeof bridge>['parse']>[0]
const ENVIRONMENT = { address: { host: 'env', port: 1 }, credentials: 'a:b', noProxy: ['x'] }
const find = (httpProxy: unknown, environment: () => typeof ENVIRONMENT | undefined = () => ENVIRONMENT) =>
  findProxy(
    { settings: bridge().parse({ cluster: 'c', ...(httpProxy === undefined ? {} : { httpProxy }) } as Input) },
    { readFile: (file) => `what ${file} holds`, readEnvironmentProxy: environment },
  )

test('agent.yaml wins, then the environment; `none` is none', () => {
  const own = find({ host: 'own', port: 2, credentialsFile: '/c', noProxy: ['y'] })
  assert.deepEqual(
    [own?.address, own?.readCredentials?.(), own?.noProxy],
    [{ host: 'own', port: 2 }, 'what /c holds', ['y']],
  )
  const env = find(undefined)
  assert.deepEqual([env?.address, env?.readCredentials?.(), env?.noProxy], [{ host: 'env', port: 1 }, 'a:b', ['x']])
  assert.deepEqual(find('none')?.noProxy, ['*'], 'everything is reached directly')
  assert.equal(
    find(undefined, () => undefined),
    undefined,
  )
})
test('what is wrong with the environment keeps those away that would go by it, and no others', () => {
  const wrong = (): never => {
    throw new MeshError('MESH_CONFIG_INVALID', 'HTTPS_PROXY is no URL')
  }
  assert.throws(() => find(undefined, wrong), { code: 'MESH_CONFIG_INVALID' })
  assert.deepEqual(find('none', wrong)?.noProxy, ['*'])
  assert.equal(find({ host: 'own', port: 2 }, wrong)?.address.host, 'own')
})
