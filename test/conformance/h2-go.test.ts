/**
 * Go's net/http on both sides of the shipped bundle: its client over TLS by ALPN, its server with prior knowledge (RFC
 * 9113 §3.2, §3.3).
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { benchCertificates } from '../bench/certificates.ts'
import { freePorts } from '../../tools/free-ports.ts'
import { goProgram } from './peers.ts'
import { run, start, temporaryFolder } from './programs.ts'
import { Agent, directoryMode, hostRoutes, staticCluster, writeResources } from './package/shipped.ts'

const SERVER = `package main

import ("crypto/sha256"; "fmt"; "io"; "net/http"; "os"; "time")

func main() {
	mux := http.NewServeMux()
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		w.Header().Set("X-Proto", r.Proto)
		w.WriteHeader(200)
		sum := sha256.New()
		io.Copy(io.MultiWriter(w, sum), r.Body)
		w.Header().Set("X-Sum", fmt.Sprintf("%x", sum.Sum(nil)))
	})
	mux.HandleFunc("/hints", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a>; rel=preload")
		w.WriteHeader(103)
		w.WriteHeader(204)
	})
	mux.HandleFunc("/same", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(304) })
	mux.HandleFunc("/abort", func(w http.ResponseWriter, r *http.Request) {
		w.Write(make([]byte, 100000))
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil { if _, err := w.Write(make([]byte, 10000)); err != nil { break } }
		<-r.Context().Done()
		fmt.Println("gone")
	})
	mux.HandleFunc("/early", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(403); w.Write([]byte("no")) })
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) { time.Sleep(50 * time.Millisecond); w.Write([]byte("x")) })
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	(&http.Server{Addr: os.Args[1], Handler: mux, Protocols: p}).ListenAndServe()
}
`
const CLIENT = `package main

import ("bytes"; "context"; "crypto/sha256"; "crypto/tls"; "crypto/x509"; "fmt"; "io"; "net"; "net/http"; "net/http/httptrace"; "net/textproto"; "os"; "sync")

func main() {
	pem, _ := os.ReadFile(os.Args[2])
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) { return (&net.Dialer{}).DialContext(ctx, network, os.Args[1]) }
	client := &http.Client{Transport: &http.Transport{DialContext: dial, TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}}
	base := "https://origin.test"

	body := bytes.Repeat([]byte("0123456789abcdef"), 5 << 16)
	req, _ := http.NewRequest("POST", base+"/echo", io.NopCloser(bytes.NewReader(body)))
	res, err := client.Do(req)
	if err != nil { fmt.Println("echo", err); os.Exit(1) }
	got, err := io.ReadAll(res.Body)
	fmt.Println("echo", res.Proto, res.Header.Get("X-Proto"), res.StatusCode, bytes.Equal(got, body), err, res.Trailer.Get("X-Sum") == fmt.Sprintf("%x", sha256.Sum256(body)))

	hints := 0
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, header textproto.MIMEHeader) error { if code == 103 && header.Get("Link") != "" { hints++ }; return nil }}
	req, _ = http.NewRequestWithContext(httptrace.WithClientTrace(context.Background(), trace), "GET", base+"/hints", nil)
	res, err = client.Do(req)
	fmt.Println("hints", res.StatusCode, hints, err)

	res, err = client.Head(base + "/same")
	fmt.Println("same", res.StatusCode, err)

	res, err = client.Get(base + "/abort")
	if err == nil { _, err = io.ReadAll(res.Body) }
	fmt.Println("abort", err != nil)

	ctx, cancel := context.WithCancel(context.Background())
	req, _ = http.NewRequestWithContext(ctx, "GET", base+"/endless", nil)
	res, err = client.Do(req)
	io.ReadFull(res.Body, make([]byte, 1 << 20))
	cancel()
	_, err = io.ReadAll(res.Body)
	fmt.Println("endless", err == context.Canceled)

	res, err = client.Post(base+"/early", "text/plain", io.LimitReader(zero{}, 50 << 20))
	if err != nil { fmt.Println("early", err) } else { fmt.Println("early", res.StatusCode) }

	var wait sync.WaitGroup
	var lock sync.Mutex
	good := 0
	for i := 0; i < 500; i++ {
		wait.Add(1)
		go func() {
			defer wait.Done()
			res, err := client.Get(base + "/slow")
			if err != nil { fmt.Println("slow", err); return }
			text, _ := io.ReadAll(res.Body)
			lock.Lock()
			if string(text) == "x" { good++ }
			lock.Unlock()
		}()
	}
	wait.Wait()
	fmt.Println("slow", good)
}

type zero struct{}
func (zero) Read(p []byte) (int, error) { return len(p), nil }
`

test("Go's client and server speak HTTP/2 through the agent", { timeout: 300_000 }, async (t) => {
  const [port, originPort] = (await freePorts(2)) as [number, number]
  const folder = temporaryFolder(t)
  const certificates = benchCertificates(folder)
  const origin = start(t, goProgram('h2-server', SERVER), [`127.0.0.1:${originPort}`])
  const agent = await Agent.create(t, (home, adminPort) =>
    directoryMode(
      home,
      adminPort,
      `listeners:\n- {name: in, kind: http, port: ${port}, routes: in, tls: {mode: server, chain: ${certificates.origin.chain}, key: ${certificates.origin.key}}}\n`,
    ),
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
  await origin.listening(originPort)
  await agent.start()
  const { out, err } = await run(goProgram('h2-client', CLIENT), [`127.0.0.1:${port}`, certificates.roots], {
    timeoutMs: 120_000,
  })
  assert.deepEqual(
    out.trim().split('\n'),
    [
      'echo HTTP/2.0 HTTP/2.0 200 true <nil> true',
      'hints 204 1 <nil>',
      'same 304 <nil>',
      'abort true',
      'endless true',
      'early 403',
      'slow 500',
    ],
    `${err}\n${agent.process.log.slice(-3000)}`,
  )
  await origin.until('the endpoint hears that the client is gone', () => origin.log.includes('gone'))
  assert.equal((await agent.get('/live'))?.status, 200)
})
