/**
 * The options of `meshlet mqtt pub|sub|rr`: the letters, names, meanings and defaults of mosquitto_pub, mosquitto_sub
 * and mosquitto_rr, so that scripts and habits go on. What is a secret is never an argument: everybody on the machine
 * reads those.
 */
import { type Command, InvalidArgumentError, Option } from 'commander'
import { MeshError } from '../../../core/errors.ts'
import { FOREVER_SEC } from './properties.ts'

export type ProtocolVersion = 3 | 4 | 5
export type Qos = 0 | 1 | 2

export type ConnectOptions = {
  readonly host: string
  readonly port?: number
  readonly unix?: string
  readonly url?: string
  readonly ws?: boolean
  readonly id?: string
  readonly idPrefix?: string
  readonly keepalive: number
  readonly username?: string
  readonly passwordFile?: string
  readonly protocolVersion?: ProtocolVersion
  readonly disableCleanSession?: boolean
  readonly sessionExpiryInterval?: number
  readonly property?: readonly string[]
  readonly willTopic?: string
  readonly willPayload?: string
  readonly willQos?: Qos
  readonly willRetain?: boolean
  readonly cafile?: string
  readonly cert?: string
  readonly key?: string
  readonly ciphers?: string
  readonly tlsVersion?: 'tlsv1.2' | 'tlsv1.3'
  readonly tlsAlpn?: string
  readonly tlsUseOsCerts?: boolean
  readonly insecure?: boolean
  readonly pskFile?: string
  readonly pskIdentity?: string
  readonly debug?: boolean
  readonly quiet?: boolean
  readonly qos: Qos
}
export type MessageOptions = {
  readonly message?: string
  readonly file?: string
  readonly nullMessage?: boolean
  readonly stdinFile?: boolean
}
export type OutputOptions = {
  readonly format?: string
  readonly verbose?: boolean
  readonly eol: boolean
  readonly pretty?: boolean
}

/** Of mosquitto's clients, but not here; with what to do instead. */
const NOT_HERE: readonly (readonly [flags: string, remedy: string])[] = [
  [
    '-P, --pw <password>',
    'a password as an argument can be read by everybody on this machine; write it into a file for --password-file, give it on standard input (--password-file -), or in the environment (MESHLET_MQTT_PASSWORD)',
  ],
  [
    '--psk <hex key>',
    'a key as an argument can be read by everybody on this machine; write it into a file for --psk-file',
  ],
  ['-A <address>', 'the address of this side is chosen by the system: set a route for the broker'],
  ['-S', 'SRV records are not asked for: name the broker with -h and -p'],
  ['--proxy <url>', 'no SOCKS proxy is spoken to'],
  ['--capath <folder>', 'put the certificates into one file for --cafile'],
  ['--tls-engine <engine>', 'OpenSSL engines are not loaded: use a key in a file'],
  ['--tls-engine-kpass-sha1 <hex>', 'OpenSSL engines are not loaded: use a key in a file'],
  ['--keyform <form>', 'keys are PEM files'],
]

const collect = (value: string, before: readonly string[] = []): readonly string[] => [...before, value]
const numberFrom = (min: number, max: number): ((text: string) => number) => {
  return (text) => {
    const value = Number(text)
    if (!/^\d+$/.test(text) || value < min || value > max)
      throw new InvalidArgumentError(`It must be ${min} to ${max}.`)
    return value
  }
}
const seconds = (text: string): number => {
  const value = Number(text)
  if (!(value >= 0) || value > 2_000_000) throw new InvalidArgumentError('It must be a number of seconds.')
  return value
}
const percent = (text: string): number => {
  const value = Number(text)
  if (!(value > 0 && value <= 100)) throw new InvalidArgumentError('It must be above 0 and at most 100.')
  return value
}
const qos = numberFrom(0, 2) as (text: string) => Qos
const expiry = (text: string): number =>
  text === '-1' || text === '∞' ? FOREVER_SEC : numberFrom(0, FOREVER_SEC)(text)
const VERSIONS: Readonly<Record<string, ProtocolVersion>> = {
  '31': 3,
  mqttv31: 3,
  '311': 4,
  mqttv311: 4,
  '5': 5,
  mqttv5: 5,
}
const version = (text: string): ProtocolVersion => {
  const found = VERSIONS[text]
  if (found === undefined) throw new InvalidArgumentError('It must be mqttv5, mqttv311 or mqttv31.')
  return found
}

/** @param defaultVersion as the help tells it */
export function addConnectOptions(command: Command, defaultVersion: 'mqttv311' | 'mqttv5'): Command {
  command
    .helpOption('--help', 'this text')
    .option('-h, --host <host>', 'broker', 'localhost')
    .option('-p, --port <port>', 'its port (default: 1883, 8883 with TLS)', numberFrom(1, 65_535))
    .option('--unix <socket>', 'connect through this Unix socket instead')
    .option('-L, --url <url>', 'mqtt(s)://[user@]host[:port]/topic or ws(s)://… in place of -h, -p, -u and -t')
    .option('--ws', 'MQTT over WebSocket, at /mqtt')
    .option('-i, --id <client id>', 'client id (default: one of its own)')
    .option('-I, --id-prefix <prefix>', 'client id: this and the process id')
    .option('-k, --keepalive <seconds>', 'keep alive', numberFrom(0, 65_535), 60)
    .option('-u, --username <name>', 'user name')
    .option(
      '--password-file <file>',
      'file with the password, - for standard input; default: MESHLET_MQTT_PASSWORD of the environment, if it is set',
    )
    .option('-V, --protocol-version <version>', `mqttv5, mqttv311 or mqttv31 (default: ${defaultVersion})`, version)
    .option('-c, --disable-clean-session', 'keep the session of the client id (needs -i)')
    .option('-x, --session-expiry-interval <seconds>', 'how long the session is kept; -1: for ever (MQTT 5)', expiry)
    .option(
      '-D, --property <words...>',
      'MQTT 5 property: COMMAND IDENTIFIER VALUE, e.g. publish content-type text/plain; user-property has a name and a value',
    )
    .option('-q, --qos <0|1|2>', 'quality of service', qos, 0 as Qos)
  addWillAndTls(command)
  for (const [flags, remedy] of NOT_HERE) command.addOption(new Option(flags, remedy).hideHelp())
  return command.hook('preAction', () => refuseNotHere(command))
}
/** Without a word of what was given: it may be a secret. */
function refuseNotHere(command: Command): void {
  const given = command.opts<Readonly<Record<string, unknown>>>()
  for (const option of command.options)
    if (option.hidden && given[option.attributeName()] !== undefined)
      throw new MeshError('MESH_CONFIG_INVALID', `${option.flags} is not known here: ${option.description}`)
}

function addWillAndTls(command: Command): void {
  command
    .option('--will-topic <topic>', 'topic of a will, which the broker publishes when the connection is lost')
    .option('--will-payload <text>', 'what the will says (default: nothing)')
    .option('--will-qos <0|1|2>', 'its quality of service', qos)
    .option('--will-retain', 'the will is retained')
    .option('--cafile <file>', 'TLS: CA certificates of the broker, PEM')
    .option('--tls-use-os-certs', 'TLS: the CA certificates of this machine')
    .option('--cert <file>', 'TLS: certificate of this client, PEM')
    .option('--key <file>', 'TLS: its key, PEM')
    .option('--ciphers <list>', "TLS: ciphers, as OpenSSL's list")
    .addOption(new Option('--tls-version <version>', 'TLS: at least this').choices(['tlsv1.2', 'tlsv1.3']))
    .option('--tls-alpn <protocol>', 'TLS: application protocol (ALPN)')
    .option('--insecure', 'TLS: the certificate need not be for the host that was asked for')
    .option('--psk-file <file>', 'TLS: file with a pre-shared key in hexadecimal')
    .option('--psk-identity <name>', 'TLS: whose pre-shared key that is')
    .option('--nodelay', 'accepted as it is: nothing waits for more to send')
    .option('-d, --debug', 'tell on standard error what is sent and received')
    .option('--quiet', 'no message when something fails')
}

export function addMessageOptions(command: Command): Command {
  return command
    .option('-m, --message <text>', 'the message')
    .option('-f, --file <file>', 'the message is the content of a file')
    .option('-n, --null-message', 'an empty message')
    .option('-s, --stdin-file', 'the message is all of standard input')
}

export function addOutputOptions(command: Command): Command {
  return command
    .option('-v, --verbose', 'topic and message')
    .option('-F, --format <format>', 'how a message is printed: %t topic, %p message, %q, %r, %j JSON, … (see below)')
    .option('-N, --no-eol', 'no end of line behind a message')
    .option('--pretty', 'JSON in several lines')
    .option('-R, --no-retained', 'leave out retained messages')
    .option('-W, --timeout <seconds>', 'stop after so long, with exit code 27', numberFrom(1, 1_000_000))
}

export function addPublishOptions(command: Command): Command {
  return command
    .option('-t, --topic <topic>', 'topic')
    .option('-l, --stdin-line', 'each line of standard input is a message')
    .option('-r, --retain', 'retain')
    .option('-M, --max-inflight <n>', 'so many QoS 1 and 2 messages at once', numberFrom(1, 65_535), 20)
    .option('--repeat <n>', 'publish it so many times', numberFrom(1, 1_000_000_000), 1)
    .option('--repeat-delay <seconds>', 'wait so long in between', seconds, 0)
}

export function addSubscribeOptions(command: Command): Command {
  return command
    .option('-t, --topic <filter>', 'topic filter; may be repeated', collect)
    .option('-T, --filter-out <filter>', 'leave out what matches; may be repeated', collect)
    .option('-U, --unsubscribe <filter>', 'unsubscribe first; may be repeated', collect)
    .option('-C, --count <n>', 'stop after so many messages', numberFrom(1, 1_000_000_000))
    .option('-E, --exit-after-subscribe', 'stop once the broker has acknowledged the subscriptions')
    .option('--retain-as-published', 'keep the retain flag of live messages (MQTT 5)')
    .option('--retained-only', 'stop at the first message that is not a retained one')
    .option('--remove-retained', 'remove the retained messages that come from the broker')
    .option('--random-filter <percent>', 'print so many of the messages, by chance', percent)
}

export const FORMAT_HELP = `
Format: %t topic, %p payload, %x %X payload in hexadecimal, %l its length, %q QoS, %r retained, %m message id,
%j %J JSON with the payload as text or as JSON, %I ISO 8601 time, %U Unix time, %A topic alias, %C content type,
%D correlation data, %E expiry, %F format indicator, %P user properties, %R response topic, %S subscription id, %% %.
Between % and the letter: 0 or -, width, .precision. @X is strftime's %X, @N nanoseconds; \\n \\t \\r \\0 \\a \\e \\v \\\\.`
export const EXIT_HELP = `
Exit codes as those of mosquitto's clients: 0 ok, 1 failed, 2 wrong usage, 27 timed out (-W);
refused by the broker: the code of its CONNACK (128 and above, or 3 to 5 of MQTT 3.1.1).`
