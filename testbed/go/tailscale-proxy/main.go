// Command tailscale-proxy carries a Kubernetes API over the tailnet in the way in which Tailscale's operator does: a node of its own by tsnet, a WhoIs for
// each request, and impersonation of the caller by the proxy's own rights. `cargo xtask bench gateway` compares with it. It is for nothing else: each caller
// acts as the one group that it is told.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"

	"tailscale.com/client/local"
	"tailscale.com/tsnet"
)

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	var node tsnet.Server
	flag.StringVar(&node.Hostname, "hostname", "", "the node's name")
	flag.StringVar(&node.Dir, "state-dir", "", "where the node keeps its state")
	flag.StringVar(&node.ControlURL, "control-url", "", "the tailnet's control server")
	key := flag.String("auth-key-file", "", "a file with the key that joins the node to the tailnet")
	target := flag.String("api-server", "", "URL of the API server")
	authority := flag.String("ca-file", "", "its certificate authority")
	token := flag.String("token-file", "", "a file with a token that may impersonate")
	group := flag.String("group", "", "the group that each caller acts as")
	flag.Parse()
	joins, err := os.ReadFile(*key)
	if err != nil {
		return err
	}
	node.AuthKey = strings.TrimSpace(string(joins))
	defer node.Close()
	if _, err := node.Up(context.Background()); err != nil {
		return err
	}
	listener, err := node.Listen("tcp", ":80")
	if err != nil {
		return err
	}
	client, err := node.LocalClient()
	if err != nil {
		return err
	}
	proxy, err := newProxy(*target, *authority, *token)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	return http.Serve(listener, impersonating(client, *group, proxy))
}

// impersonating lets a request through as the caller that WhoIs tells.
func impersonating(client *local.Client, group string, proxy http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := client.WhoIs(r.Context(), r.RemoteAddr)
		if err != nil {
			http.Error(w, "the caller could not be identified", http.StatusInternalServerError)
			return
		}
		for name := range r.Header {
			if strings.HasPrefix(name, "Impersonate-") {
				r.Header.Del(name)
			}
		}
		r.Header.Set("Impersonate-User", who.UserProfile.LoginName)
		r.Header.Set("Impersonate-Group", group)
		proxy.ServeHTTP(w, r)
	})
}

func newProxy(target, authority, tokenFile string) (http.Handler, error) {
	to, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	pem, err := os.ReadFile(authority)
	if err != nil {
		return nil, err
	}
	token, err := os.ReadFile(tokenFile)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("there is no certificate in " + authority)
	}
	bearer := "Bearer " + strings.TrimSpace(string(token))
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Header.Set("Authorization", bearer)
		},
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{}).DialContext,
			TLSClientConfig:     &tls.Config{RootCAs: pool},
			ForceAttemptHTTP2:   true,
			MaxIdleConnsPerHost: 100,
		},
		FlushInterval: -1,
	}, nil
}
