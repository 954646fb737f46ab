/**
 * grpc-js on both sides of the shipped bundle: every kind of call, statuses in trailers and alone, deadlines, and calls
 * that are given up.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import grpc from '@grpc/grpc-js'
import { freePorts } from '../../tools/free-ports.ts'
import { until, type Finally } from './programs.ts'
import { Agent, directoryMode, hostRoutes, staticCluster, writeResources } from './package/shipped.ts'

const bytes = (value: Buffer): Buffer => value
const method = (
  name: string,
  requestStream: boolean,
  responseStream: boolean,
): grpc.MethodDefinition<Buffer, Buffer> => ({
  path: `/test.Echo/${name}`,
  requestStream,
  responseStream,
  requestSerialize: bytes,
  requestDeserialize: bytes,
  responseSerialize: bytes,
  responseDeserialize: bytes,
})
const ECHO = {
  unary: method('Unary', false, false),
  upload: method('Upload', true, false),
  download: method('Download', false, true),
  both: method('Both', true, true),
}
const LARGE = Buffer.alloc(3 * 1024 * 1024, 'x')
const PIECES = 300

class Endpoint {
  readonly server = new grpc.Server()
  readonly canceled: string[] = []
  readonly hanging: string[] = []
  async listen(t: Finally): Promise<number> {
    this.server.addService(ECHO, {
      unary: (call: grpc.ServerUnaryCall<Buffer, Buffer>, done: grpc.sendUnaryData<Buffer>) => {
        const asked = call.request.toString()
        call.on('cancelled', () => {
          this.canceled.push(asked)
        })
        if (asked.startsWith('hang')) {
          this.hanging.push(asked)
          return
        }
        const trailers = new grpc.Metadata()
        trailers.set('x-seen', asked.slice(0, 10))
        if (asked === 'refuse')
          done({ code: grpc.status.FAILED_PRECONDITION, details: 'no – ünicode', metadata: trailers })
        else done(null, call.request, trailers)
      },
      upload: (call: grpc.ServerReadableStream<Buffer, Buffer>, done: grpc.sendUnaryData<Buffer>) => {
        let got = 0
        call
          .on('data', (piece: Buffer) => {
            got += piece.length
          })
          .on('end', () => {
            done(null, Buffer.from(String(got)))
          })
      },
      download: (call: grpc.ServerWritableStream<Buffer, Buffer>) => {
        for (let i = 0; i < PIECES; i++) call.write(call.request)
        call.end()
      },
      both: (call: grpc.ServerDuplexStream<Buffer, Buffer>) => {
        call
          .on('data', (piece: Buffer) => {
            call.write(piece)
          })
          .on('end', () => {
            call.end()
          })
      },
    })
    t.after(() => {
      this.server.forceShutdown()
    })
    return new Promise((resolve, reject) => {
      this.server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) => {
        if (error) reject(error)
        else resolve(port)
      })
    })
  }
}

type Answer = { readonly error: grpc.ServiceError | null; readonly value: Buffer | undefined; readonly seen: string }
type Rig = {
  readonly endpoint: Endpoint
  readonly client: grpc.Client
  unary(request: Buffer, o?: grpc.CallOptions): Promise<Answer>
}

async function startRig(t: Finally): Promise<Rig> {
  const endpoint = new Endpoint()
  const originPort = await endpoint.listen(t)
  const [port] = (await freePorts(1)) as [number]
  const agent = await Agent.create(t, (home, adminPort) =>
    directoryMode(home, adminPort, `listeners:\n- {name: in, kind: http, port: ${port}, routes: in}\n`),
  )
  const http2 = {
    typed_extension_protocol_options: {
      'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
        '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
        explicit_http_config: { http2_protocol_options: {} },
      },
    },
  }
  writeResources(agent.folder, [staticCluster('origin', originPort, http2), hostRoutes('in', { '*': 'origin' })])
  await agent.start()
  const client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), {
    'grpc.max_receive_message_length': -1,
  })
  t.after(() => {
    client.close()
  })
  const unary = (request: Buffer, o: grpc.CallOptions = {}): Promise<Answer> =>
    new Promise((resolve) => {
      let seen = ''
      client
        .makeUnaryRequest(ECHO.unary.path, bytes, bytes, request, new grpc.Metadata(), o, (error, value) => {
          setImmediate(() => {
            resolve({ error, value, seen })
          })
        })
        .on('status', (status) => {
          seen = String(status.metadata.get('x-seen')[0])
        })
    })
  return { endpoint, client, unary }
}

test('grpc-js through the agent', { timeout: 300_000 }, async (t) => {
  const rig = await startRig(t)
  await unaryCalls(t, rig)
  await streams(t, rig)
})

async function unaryCalls(t: TestContext, { endpoint, client, unary }: Rig): Promise<void> {
  await t.test('unary: small, empty, of 3 MiB, 300 at once; metadata in the trailers', async () => {
    for (const request of [Buffer.from('hello'), Buffer.alloc(0), LARGE]) {
      const { error, value, seen } = await unary(request)
      assert.equal(error, null)
      assert.ok(value!.equals(request))
      assert.equal(seen, request.toString().slice(0, 10))
    }
    const answers = await Promise.all(Array.from({ length: 300 }, (_, i) => unary(Buffer.from(`n${i}`))))
    assert.deepEqual(
      answers.map(({ value }) => String(value)),
      answers.map((_, i) => `n${i}`),
    )
  })
  await t.test('a status without a message, with its details', async () => {
    const { error, seen } = await unary(Buffer.from('refuse'))
    assert.deepEqual([error?.code, error?.details, seen], [grpc.status.FAILED_PRECONDITION, 'no – ünicode', 'refuse'])
  })
  await t.test('a method that nobody has', async () => {
    const error = await new Promise<grpc.ServiceError | null>((resolve) => {
      client.makeUnaryRequest('/test.Echo/None', bytes, bytes, Buffer.alloc(1), (failed) => {
        resolve(failed)
      })
    })
    assert.equal(error?.code, grpc.status.UNIMPLEMENTED)
  })
  await t.test('a deadline, and a call that is given up, of which the endpoint hears', async () => {
    const { error } = await unary(Buffer.from('hang'), { deadline: Date.now() + 300 })
    assert.equal(error?.code, grpc.status.DEADLINE_EXCEEDED)
    const call = client.makeUnaryRequest(ECHO.unary.path, bytes, bytes, Buffer.from('hang up'), () => {})
    await until('the call has arrived', () => endpoint.hanging.includes('hang up'))
    call.cancel()
    await until('the endpoint hears of it', () => endpoint.canceled.includes('hang up'))
  })
}

async function streams(t: TestContext, { client }: Rig): Promise<void> {
  await t.test('a stream up, a stream down, both at once, piece by piece', async () => {
    const sum = await new Promise<string>((resolve, reject) => {
      const call = client.makeClientStreamRequest(ECHO.upload.path, bytes, bytes, (error, value) => {
        if (error) reject(error)
        else resolve(String(value))
      })
      for (let i = 0; i < PIECES; i++) call.write(Buffer.alloc(10_000))
      call.end()
    })
    assert.equal(sum, String(PIECES * 10_000))
    let down = 0
    const call = client.makeServerStreamRequest(ECHO.download.path, bytes, bytes, Buffer.alloc(10_000))
    for await (const piece of call) down += (piece as Buffer).length
    assert.equal(down, PIECES * 10_000)
    const both = client.makeBidiStreamRequest(ECHO.both.path, bytes, bytes)
    for (let i = 0; i < 20; i++) {
      both.write(Buffer.from(String(i)))
      const [piece] = (await once(both, 'data')) as [Buffer]
      assert.equal(String(piece), String(i))
    }
    both.end()
    const [status] = (await once(both, 'status')) as [grpc.StatusObject]
    assert.equal(status.code, grpc.status.OK)
  })
}
