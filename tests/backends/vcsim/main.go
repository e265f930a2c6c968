// SPDX-License-Identifier: Apache-2.0
// A vCenter simulator with what a test of a store driver needs beside govmomi's: /folder wants a
// live session, as vCenter does, and tests may end sessions, change the password and say how much
// room there is (POST to /control/...).
package main

import (
	"crypto/tls"
	"flag"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/vmware/govmomi/simulator"
)

const cookieName = "vmware_soap_session"

const currentTime = `<?xml version="1.0"?><e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body><CurrentTime xmlns="urn:vim25"><_this type="ServiceInstance">ServiceInstance</_this></CurrentTime></e:Body></e:Envelope>`

// created turns the 200 of a PUT into 201.
type created struct {
	http.ResponseWriter
	wrote bool
}

func (c *created) WriteHeader(status int) {
	c.wrote = true
	c.ResponseWriter.WriteHeader(status)
}

type server struct {
	inner   http.Handler
	service *simulator.Service
	user    string

	mutex   sync.Mutex
	seen    map[string]bool
	expired map[string]bool
}

func (s *server) live(r *http.Request) bool {
	probe := httptest.NewRequest(http.MethodPost, "/sdk", strings.NewReader(currentTime))
	if cookie, err := r.Cookie(cookieName); err == nil {
		cookie.Value = strings.Trim(cookie.Value, "\"")
		probe.AddCookie(cookie)
	}
	answer := httptest.NewRecorder()
	s.inner.ServeHTTP(answer, probe)
	return answer.Code == http.StatusOK
}

// forget takes the cookie of an ended session away.
func (s *server) forget(r *http.Request) {
	cookie, err := r.Cookie(cookieName)
	if err != nil {
		return
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.seen[cookie.Value] = true
	if s.expired[cookie.Value] {
		r.Header.Del("Cookie")
	}
}

func (s *server) control(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	switch r.URL.Path {
	case "/control/expire":
		s.mutex.Lock()
		for value := range s.seen {
			s.expired[value] = true
		}
		s.mutex.Unlock()
	case "/control/password":
		s.service.Listen.User = url.UserPassword(s.user, query.Get("to"))
	case "/control/free":
		free, err := strconv.ParseInt(query.Get("bytes"), 10, 64)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		for _, entity := range simulator.Map.All("Datastore") {
			if store := entity.(*simulator.Datastore); store.Name == query.Get("datastore") {
				store.Summary.FreeSpace = free
			}
		}
	default:
		http.NotFound(w, r)
	}
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/control/") {
		s.control(w, r)
		return
	}
	s.forget(r)
	if !strings.HasPrefix(r.URL.Path, "/folder/") {
		s.inner.ServeHTTP(w, r)
		return
	}
	if !s.live(r) {
		w.Header().Set("WWW-Authenticate", "Basic realm=\"VMware HTTP server\"")
		http.Error(w, "unauthorized", http.StatusUnauthorized)
		return
	}
	if r.Method == http.MethodPut {
		w = &created{ResponseWriter: w}
	}
	s.inner.ServeHTTP(w, r)
	if c, ok := w.(*created); ok && !c.wrote {
		w.WriteHeader(http.StatusCreated)
	}
}

func main() {
	listen := flag.String("l", "127.0.0.1:8989", "host:port")
	user := flag.String("username", "user", "login")
	password := flag.String("password", "password", "password")
	certificate := flag.String("tlscert", "", "PEM certificate")
	key := flag.String("tlskey", "", "PEM key")
	datastores := flag.Int("ds", 2, "datastores")
	wsdl := flag.String("wsdl", "", "file served at /sdk/vimService.wsdl")
	flag.Parse()

	model := simulator.VPX()
	model.Datastore, model.Machine, model.Autostart = *datastores, 1, false
	if err := model.Create(); err != nil {
		log.Fatal(err)
	}
	defer model.Remove()
	pair, err := tls.LoadX509KeyPair(*certificate, *key)
	if err != nil {
		log.Fatal(err)
	}
	model.Service.Listen = &url.URL{Host: *listen, User: url.UserPassword(*user, *password)}
	model.Service.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	if *wsdl != "" {
		model.Service.HandleFunc("/sdk/vimService.wsdl", func(w http.ResponseWriter, r *http.Request) {
			http.ServeFile(w, r, *wsdl)
		})
	}
	running := model.Service.NewServer()
	defer running.Close()
	running.Config.Handler = &server{
		inner:   running.Config.Handler,
		service: model.Service,
		user:    *user,
		seen:    map[string]bool{},
		expired: map[string]bool{},
	}
	fmt.Println("READY", running.URL)
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGINT, syscall.SIGTERM)
	<-ended
}
