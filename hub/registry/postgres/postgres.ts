/**
 * PostgreSQL as a store, for several hubs at once. A transaction holds one advisory lock, so that transactions come one
 * after the other, as with SQLite; a statement by itself does not wait for them.
 */
import { randomUUID } from 'node:crypto'
import { Client, Pool, types, type ClientConfig, type PoolClient, type QueryResult } from 'pg'
import { MeshError } from '../../../core/errors.ts'
import { doNothing, guard } from '../../../core/defects/guard.ts'
import type { Clock, Random } from '../../../core/os/clock.ts'
import type { Log } from '../../../core/log.ts'
import { copyTables } from '../archive/copy-tables.ts'
import { openSqlite } from '../sqlite.ts'
import { MIGRATIONS } from '../schema.ts'
import { TransactionScope, type Sql, type Store, type Value } from '../sql.ts'
import { ChangeListener } from './change-listener.ts'
import { toParameter, rewriteMigration, rewriteStatement } from './dialect.ts'
import { describeUrl, toClientConfig, type PostgresSettings } from './settings.ts'

export type PostgresWorld = { readonly clock: Clock; readonly random: Random; readonly log: Log }

const CHANNEL = 'meshlet_hub'
/** Of pg_advisory_xact_lock: `mesh` and a number. */
const LOCK = { migrations: 0x6d657368_01, transactions: 0x6d657368_02 }
/** After a connection was refused nobody tries for so long: thousands of devices ask at once. */
const REST_MS = 250
/** count(*) and all whole numbers: those of the registry fit a JavaScript number. */
const INT8 = 20
const parseInt8 = (text: string): number => Number(text)
const TYPES: NonNullable<ClientConfig['types']> = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary') =>
    oid === INT8 ? parseInt8 : types.getTypeParser(oid, format)) as typeof types.getTypeParser,
}

/**
 * Makes or changes the tables where that is needed, one hub at a time. Rejects with MESH_CONFIG_INVALID,
 * MESH_STORAGE_FAILED (nobody answers, or lets us in), MESH_STORAGE_NEWER.
 */
export async function openPostgres(settings: PostgresSettings, world: PostgresWorld): Promise<Store> {
  const config = { ...toClientConfig(settings), types: TYPES }
  await using building = new AsyncDisposableStack()
  const store = building.use(new PostgresStore(config, settings, world))
  await store.migrate()
  await store.listen()
  building.move()
  return store
}

class PostgresStore implements Store {
  readonly #config: ClientConfig
  readonly #world: PostgresWorld
  readonly #where: string
  readonly #pool: Pool
  readonly #scope = new TransactionScope()
  /** Says in a notice that it is our own. */
  readonly #self = randomUUID()
  #listener: ChangeListener | undefined
  #changes = 0
  #closedUntilMs = 0

  constructor(config: ClientConfig, settings: PostgresSettings, world: PostgresWorld) {
    this.#config = config
    this.#world = world
    this.#where = describeUrl(settings.url)
    this.#pool = new Pool({ ...config, max: settings.maxConnections, idleTimeoutMillis: 30_000 })
    // Whoever uses the connection is told by a rejection.
    this.#pool.on('error', doNothing)
    this.#pool.on(
      'connect',
      guard('hub', doNothing, (client: PoolClient) => {
        client.on('error', doNothing)
      }),
    )
  }

  all<T>(sql: string, ...params: readonly Value[]): Promise<T[]> {
    this.#scope.checkOutside()
    return this.#with((connection) => connection.all<T>(sql, params))
  }
  run(sql: string, ...params: readonly Value[]): Promise<number> {
    this.#scope.checkOutside()
    return this.#with(async (connection) => (await connection.ask(sql, params)).rowCount ?? 0)
  }
  async touch(): Promise<void> {
    await this.run('SELECT pg_notify(?, ?)', CHANNEL, this.#self)
    this.#changes++
  }

  transaction<T>(work: (tx: Sql) => Promise<T>): Promise<T> {
    this.#scope.checkOutside()
    return this.#with(async (connection) => {
      const tx = new PostgresTransaction(connection, this.#self)
      await connection.execute(`BEGIN; SELECT pg_advisory_xact_lock(${LOCK.transactions})`)
      const result = await this.#scope.run(() => work(tx))
      tx.isOver = true
      await connection.execute('COMMIT')
      if (tx.isTouched) this.#changes++
      return result
    })
  }

  get revision(): string {
    return String(this.#changes)
  }
  serving(): void {
    /* Nobody blocks anybody. */
  }
  async copyTo(file: string, nativeBinding?: object): Promise<void> {
    await using copy = openSqlite(file, nativeBinding)
    await this.#with(async (connection) => {
      await connection.execute('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
      const source = new PostgresTransaction(connection, this.#self)
      await copy.transaction((tx) => copyTables(source, tx, tx))
      await connection.execute('COMMIT')
    })
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#listener?.[Symbol.asyncDispose]()
    await this.#pool.end()
  }

  async listen(): Promise<void> {
    try {
      this.#listener = await ChangeListener.open({
        ...this.#world,
        makeClient: () => new Client(this.#config),
        channel: CHANNEL,
        onChange: (sender) => {
          if (sender !== this.#self) this.#changes++
        },
      })
    } catch (cause) {
      throw this.#toError(cause)
    }
  }

  migrate(): Promise<void> {
    return this.#with(async (connection) => {
      await connection.execute(`BEGIN; SELECT pg_advisory_xact_lock(${LOCK.migrations})`)
      await connection.execute('CREATE TABLE IF NOT EXISTS meshlet_schema (version BIGINT NOT NULL)')
      const [{ version } = { version: 0 }] = await connection.all<{ version: number | null }>(
        'SELECT max(version) AS version FROM meshlet_schema',
        [],
      )
      if ((version ?? 0) > MIGRATIONS.length)
        throw new MeshError(
          'MESH_STORAGE_NEWER',
          `${this.#where} has version ${version}, this hub knows ${MIGRATIONS.length}`,
        )
      for (const [i, sql] of MIGRATIONS.entries()) {
        if (i < (version ?? 0)) continue
        await connection.execute(rewriteMigration(sql))
        await connection.ask('INSERT INTO meshlet_schema (version) VALUES (?)', [i + 1])
      }
      await connection.execute('COMMIT')
    })
  }

  /** A connection of the pool, which is used again if the server still answers on it. */
  async #with<T>(work: (connection: Connection) => Promise<T>): Promise<T> {
    const client = await this.#connect()
    const connection = new Connection(client, (cause) => this.#toError(cause))
    let isWhole = true
    try {
      return await work(connection)
    } catch (thrown) {
      isWhole = connection.isAnswering && (await connection.tryRollback())
      throw thrown
    } finally {
      client.release(!isWhole)
    }
  }

  async #connect(): Promise<PoolClient> {
    const nowMs = this.#world.clock.monotonicMs()
    if (nowMs < this.#closedUntilMs) throw this.#toError(new Error('it did not answer a moment ago'))
    try {
      return await this.#pool.connect()
    } catch (cause) {
      this.#closedUntilMs = nowMs + REST_MS * (1 + this.#world.random.float())
      throw this.#toError(cause)
    }
  }

  #toError(thrown: unknown): MeshError {
    if (thrown instanceof MeshError) return thrown
    // disk_full (PostgreSQL, Appendix A).
    const isFull = (thrown as { code?: unknown }).code === '53100'
    return new MeshError(
      isFull ? 'MESH_STORAGE_FULL' : 'MESH_STORAGE_FAILED',
      `the registry of the hub at ${this.#where} cannot be used`,
      { cause: thrown },
    )
  }
}

/** Statements on one connection; what package pg throws becomes a catalogue error. */
class Connection {
  readonly #client: PoolClient
  readonly #toError: (cause: unknown) => MeshError
  /** False: it may hang, or be closed. */
  isAnswering = true

  constructor(client: PoolClient, toError: (cause: unknown) => MeshError) {
    this.#client = client
    this.#toError = toError
  }

  async ask(sql: string, params: readonly Value[] = []): Promise<QueryResult> {
    try {
      return await this.#client.query(rewriteStatement(sql), params.map(toParameter))
    } catch (cause) {
      this.isAnswering &&= isOfServer(cause)
      throw this.#toError(cause)
    }
  }
  async all<T>(sql: string, params: readonly Value[]): Promise<T[]> {
    return (await this.ask(sql, params)).rows as T[]
  }
  /** Several statements, without parameters, as they are. */
  async execute(sql: string): Promise<void> {
    try {
      await this.#client.query(sql)
    } catch (cause) {
      this.isAnswering &&= isOfServer(cause)
      throw this.#toError(cause)
    }
  }
  async tryRollback(): Promise<boolean> {
    try {
      await this.#client.query('ROLLBACK')
      return true
    } catch {
      return false
    }
  }
}

/** An SQLSTATE (PostgreSQL, Appendix A) that is not of class 57, operator intervention: the server ends the connection. */
function isOfServer(cause: unknown): boolean {
  const code = (cause as { code?: unknown }).code
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) && !code.startsWith('57P')
}

class PostgresTransaction implements Sql {
  readonly #connection: Connection
  readonly #self: string
  isOver = false
  isTouched = false

  constructor(connection: Connection, self: string) {
    this.#connection = connection
    this.#self = self
  }

  async all<T>(sql: string, ...params: readonly Value[]): Promise<T[]> {
    return await this.#open().all<T>(sql, params)
  }
  async run(sql: string, ...params: readonly Value[]): Promise<number> {
    return (await this.#open().ask(sql, params)).rowCount ?? 0
  }
  transaction<T>(work: (tx: Sql) => Promise<T>): Promise<T> {
    return work(this)
  }
  /** The server gives it out at COMMIT, and equal ones of one transaction once. */
  async touch(): Promise<void> {
    if (this.isTouched) return
    this.isTouched = true
    await this.run('SELECT pg_notify(?, ?)', CHANNEL, this.#self)
  }

  #open(): Connection {
    if (this.isOver) throw new MeshError('MESH_INTERNAL', 'a statement came after the end of its transaction')
    return this.#connection
  }
}
